//! A length that a remote only claims makes nothing allocate: the largest single allocation of each parser is watched.

#![cfg(not(target_arch = "wasm32"))]
#![expect(unsafe_code, reason = "an allocator that watches is one")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use tabswarm_core::{
    bounded::{BoundedBytes, BoundedString, BoundedVec},
    content::{Manifest, SegmentKey, SignedAttestation, Trust},
    identity::{Description, LinkHello, SignedCertificate, SignedIntroduction},
    wire::{ClientMessage, LinkMessage, ServiceMessage, frames},
};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watching;

fn note(size: usize) {
    // Threads that are being torn down have no cell any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// The largest single allocation that `parse` makes, in bytes.
fn largest_allocation(parse: impl FnOnce()) -> usize {
    LARGEST.set(0);
    parse();
    LARGEST.get()
}

/// Varint of 2^32 - 1.
const CLAIM: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

#[track_caller]
fn assert_claim_is_refused<'a, T: serde::Deserialize<'a>>(before: &[u8]) {
    let bytes: &'static [u8] = Box::leak([before, &CLAIM].concat().into_boxed_slice());
    let largest = largest_allocation(|| assert!(postcard::take_from_bytes::<T>(bytes).is_err()));
    assert!(largest < 1024, "allocated {largest} bytes");
}

#[test]
fn collections_allocate_nothing_for_a_claim() {
    assert_claim_is_refused::<BoundedVec<[u8; 32], { usize::MAX }>>(&[]);
    assert_claim_is_refused::<BoundedString<{ usize::MAX }>>(&[]);
    assert_claim_is_refused::<BoundedBytes<{ usize::MAX }>>(&[]);
}

#[test]
fn records_allocate_nothing_for_a_claim() {
    assert_claim_is_refused::<SignedCertificate>(&[]);
    assert_claim_is_refused::<SignedIntroduction>(&[]);
    assert_claim_is_refused::<SignedAttestation>(&[]);
    assert_claim_is_refused::<SegmentKey>(&[]);
    assert_claim_is_refused::<Description>(&[0; 32]);
    assert_claim_is_refused::<LinkHello>(&[&[1, 1, 0][..], &[0; 32]].concat());
}

#[test]
fn a_manifest_allocates_nothing_for_a_claim() {
    // A name, a time, and then the claim as the number of tracks, or no track and the claim as the number of segments.
    for body in [&[1, b's', 0][..], &[1, b's', 0, 0]] {
        let body = [body, &CLAIM].concat();
        let file = [&b"tabswarm\x01\0\0"[..], &(body.len() as u32).to_le_bytes(), &body].concat();
        let largest = largest_allocation(|| assert!(Manifest::decode(&file, &Trust::Origin).is_err()));
        assert!(largest < 1024, "allocated {largest} bytes");
    }
}

#[test]
fn wire_messages_allocate_nothing_for_a_claim() {
    // Everything before the list is zeros in each of these: type, and how many bytes those are.
    for (kind, before) in [(5, 32), (6, 0), (7, 33), (11, 34), (65, 0), (69, 0), (97, 2), (98, 33), (101, 0)]
    {
        let body = [vec![0; before], CLAIM.to_vec()].concat();
        let claimed = (body.len() as u32).to_le_bytes();
        let message = [&u16::to_le_bytes(kind)[..], &claimed, &body].concat();
        let largest = largest_allocation(|| {
            let frame = frames(&message).next().expect("one frame").expect("whole");
            assert!(!matches!(LinkMessage::decode(&frame), Ok(Some(_))), "{kind}");
            assert!(!matches!(ClientMessage::decode(&frame), Ok(Some(_))), "{kind}");
            assert!(!matches!(ServiceMessage::decode(&frame), Ok(Some(_))), "{kind}");
        });
        assert!(largest < 1024, "type {kind} allocated {largest} bytes");
    }
    // A frame that claims 4 GiB.
    let message = [5, 0, 0xff, 0xff, 0xff, 0xff, 1, 2];
    assert_eq!(
        largest_allocation(|| assert!(frames(&message).next().is_some_and(|frame| frame.is_err()))),
        0
    );
}
