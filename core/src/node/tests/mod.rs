//! A few nodes in one place: claims about single mechanisms. Whole swarms are simulated in the `tests` crate.

mod blocks;
mod choking;
mod crowded;
mod disk;
mod fixtures;
mod hedging;
mod hostile;
mod intake;
mod introductions;
mod keeping;
mod lab;
mod links;
mod lists;
mod mesh;
mod newcomers;
mod offers;
mod on_duty;
mod origin;
mod partners;
mod refresh;
mod roots;
mod runs;
mod service;
mod trading;
