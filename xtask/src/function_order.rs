//! The order of the functions in the module a tab downloads. gzip finds again only what stood within the last 32 KiB, a tenth of the
//! module, and the compiler's order is not made for that: here each function follows those it has most in common with. What to compare is
//! from [Optimizing function layout for mobile applications](https://arxiv.org/abs/2211.09285); instead of its partitions, the order is
//! greedy. A function gets another index by it, but the same one in all its callers: what they share before, they share afterwards.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;

use anyhow::{Context, Result, bail};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef, Validator,
};

/// How far back gzip looks, in bytes.
const WINDOW_BYTES: usize = 32 * 1024;
/// Length of the pieces that functions are compared by, in bytes. Shorter ones are alike by chance, longer ones miss what is alike.
const PIECE_BYTES: usize = 6;
/// Pieces added to each function's own when its share of known ones is taken: a tiny function is soon all known, and would be drawn
/// to wherever it stands at the moment.
const PIECES_OF_DOUBT: u64 = 20;
/// Worth of a piece that one function has. One that many have is worth less, by the square root: it is in the window anyway.
const RAREST: u64 = 1000;
/// Sections that the module may have beside the specified ones, because they don't speak of functions.
const CUSTOM_SECTIONS: [&str; 2] = ["producers", "target_features"];

/// The same module with its functions in an order that gzip likes. The same input always gives the same bytes.
pub(crate) fn alike_together(module: &[u8]) -> Result<Vec<u8>> {
    Validator::new().validate_all(module).context("this is no valid wasm module")?;
    let (imported, bodies) = functions(module)?;
    let mut ordered = Module::new();
    Reordering::new(imported, order(&bodies))?
        .parse_core_module(&mut ordered, Parser::new(0), module)
        .context("cannot write the wasm module in another order")?;
    let ordered = ordered.finish();
    Validator::new().validate_all(&ordered).context("the wasm module is not valid in another order")?;
    Ok(ordered)
}

/// How many functions are imported, and the bodies of the others.
fn functions(module: &[u8]) -> Result<(u32, Vec<&[u8]>)> {
    let mut imported = 0;
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.as_bytes()),
            Payload::CustomSection(section) if !CUSTOM_SECTIONS.contains(&section.name()) => {
                bail!("section {:?} may name functions by their place, which changes", section.name());
            }
            _ => {}
        }
    }
    Ok((imported, bodies))
}

/// Which body comes when.
fn order(bodies: &[&[u8]]) -> Vec<usize> {
    let mut window = Window::new(bodies);
    let mut left: Vec<usize> = (0..bodies.len()).collect();
    let mut order = Vec::with_capacity(bodies.len());
    // Of those equally like, as all are to nothing, the largest: with it, most is known.
    let rank = |window: &Window, function: usize| {
        (window.likeness(function), bodies[function].len(), Reverse(function))
    };
    while let Some(at) = (0..left.len()).max_by_key(|at| rank(&window, left[*at])) {
        let function = left.swap_remove(at);
        order.push(function);
        window.push(function);
    }
    order
}

/// The functions placed last, as far as gzip still sees them, and what the others share with them.
struct Window<'a> {
    bodies: &'a [&'a [u8]],
    /// Of each function, its different pieces.
    pieces: Vec<Vec<usize>>,
    /// Of each piece, the functions that have it.
    holders: Vec<Vec<usize>>,
    placed: VecDeque<usize>,
    placed_bytes: usize,
    /// Of each piece, how many of the placed functions have it.
    seen: Vec<usize>,
    /// Of each function, the worth of its pieces that a placed one has.
    shared: Vec<u64>,
}

impl<'a> Window<'a> {
    fn new(bodies: &'a [&'a [u8]]) -> Self {
        let mut numbers = HashMap::new();
        let mut pieces = vec![Vec::new(); bodies.len()];
        let mut holders: Vec<Vec<usize>> = Vec::new();
        for (function, body) in bodies.iter().enumerate() {
            for piece in body.windows(PIECE_BYTES) {
                let number = *numbers.entry(piece).or_insert(holders.len());
                if number == holders.len() {
                    holders.push(Vec::new());
                }
                if holders[number].last() != Some(&function) {
                    holders[number].push(function);
                    pieces[function].push(number);
                }
            }
        }
        let seen = vec![0; holders.len()];
        let shared = vec![0; bodies.len()];
        Self { bodies, pieces, holders, placed: VecDeque::new(), placed_bytes: 0, seen, shared }
    }

    fn push(&mut self, function: usize) {
        self.placed.push_back(function);
        self.placed_bytes += self.bodies[function].len();
        for &piece in &self.pieces[function] {
            self.seen[piece] += 1;
            if self.seen[piece] == 1 {
                let worth = worth(&self.holders[piece]);
                self.holders[piece].iter().for_each(|holder| self.shared[*holder] += worth);
            }
        }
        while self.placed_bytes > WINDOW_BYTES && self.placed.len() > 1 {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(function) = self.placed.pop_front() else { return };
        self.placed_bytes -= self.bodies[function].len();
        for &piece in &self.pieces[function] {
            self.seen[piece] -= 1;
            if self.seen[piece] == 0 {
                let worth = worth(&self.holders[piece]);
                self.holders[piece].iter().for_each(|holder| self.shared[*holder] -= worth);
            }
        }
    }

    /// What part of a function is in the window. The larger, the better it stands here.
    fn likeness(&self, function: usize) -> u64 {
        RAREST * self.shared[function] / (self.pieces[function].len() as u64 + PIECES_OF_DOUBT)
    }
}

fn worth(holders: &[usize]) -> u64 {
    (RAREST * RAREST / holders.len() as u64).isqrt()
}

/// Writes a module's functions in another order. Everything that names a function does so through [`Reencode::function_index`].
struct Reordering {
    order: Vec<usize>,
    /// The new index of each function, the imported ones included: they keep theirs.
    indices: Vec<u32>,
}

impl Reordering {
    fn new(imported: u32, order: Vec<usize>) -> Result<Self> {
        let first = imported as usize;
        let mut indices: Vec<u32> = (0..imported + u32::try_from(order.len())?).collect();
        for (new, old) in (imported..).zip(&order) {
            indices[first + old] = new;
        }
        Ok(Self { order, indices })
    }
}

impl Reencode for Reordering {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, reencode::Error<Infallible>> {
        // There is no such function only in a module that is not valid, and this one is.
        Ok(self.indices[index as usize])
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for at in 0..self.order.len() {
            functions.function(self.type_index(types[self.order[at]])?);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        let bodies = section.into_iter().collect::<Result<Vec<FunctionBody>, _>>()?;
        for at in 0..self.order.len() {
            self.parse_function_body(code, bodies[self.order[at]].clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use wasm_encoder::{
        ConstExpr, CustomSection, ElementSection, Elements, EntityType, ExportKind, ExportSection, Function,
        GlobalSection, GlobalType, ImportSection, NameMap, NameSection, RefType, StartSection, TableSection,
        TableType, TypeSection, ValType,
    };
    use wasmparser::{BinaryReader, ElementItems, ExternalKind, Operator};

    use super::*;

    /// The only imported function's index.
    const IMPORTED: u32 = 0;

    /// A function of a module for tests. It begins with the constant `name`, by which it is found again in any order.
    struct Body {
        name: i32,
        takes_an_argument: bool,
        calls: Vec<u32>,
        filling: Vec<i32>,
    }

    /// `count` constants that no other seed's are like.
    fn filling(seed: u32, count: usize) -> Vec<i32> {
        let mut state = u64::from(seed);
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i32
        };
        std::iter::repeat_with(&mut next).take(count).collect()
    }

    /// A module of these functions, with one more imported. The first is exported, the second starts it, the third is in a global, the
    /// last two are in the table.
    fn module(bodies: &[Body]) -> Module {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        types.ty().function([ValType::I32], []);
        let mut imports = ImportSection::new();
        imports.import("env", "outside", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        for body in bodies {
            functions.function(u32::from(body.takes_an_argument));
            let mut function = Function::new([]);
            let mut instructions = function.instructions();
            for constant in std::iter::once(&body.name).chain(&body.filling) {
                instructions.i32_const(*constant).drop();
            }
            for called in &body.calls {
                if called.checked_sub(1).is_some_and(|own| bodies[own as usize].takes_an_argument) {
                    instructions.i32_const(7);
                }
                instructions.call(*called);
            }
            instructions.end();
            code.function(&function);
        }
        let count = bodies.len() as u32;
        let mut tables = TableSection::new();
        let element_type = RefType::FUNCREF;
        tables.table(TableType { element_type, table64: false, minimum: 9, maximum: None, shared: false });
        let mut globals = GlobalSection::new();
        let global = GlobalType { val_type: ValType::Ref(RefType::FUNCREF), mutable: false, shared: false };
        globals.global(global, &ConstExpr::ref_func(3));
        let mut exports = ExportSection::new();
        exports.export("first", ExportKind::Func, 1);
        exports.export("table", ExportKind::Table, 0);
        let mut elements = ElementSection::new();
        let in_table = vec![count, IMPORTED, count - 1];
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(in_table.into()));
        elements.passive(Elements::Expressions(RefType::FUNCREF, vec![ConstExpr::ref_func(2)].into()));
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables).section(&globals);
        module
            .section(&exports)
            .section(&StartSection { function_index: 2 })
            .section(&elements)
            .section(&code);
        module
    }

    /// What a module says of its functions, each called by its name instead of by its index.
    #[derive(Debug, Default, PartialEq)]
    struct Meaning {
        /// Of each function, its type and the ones it calls.
        functions: BTreeMap<i32, (u32, Vec<i32>)>,
        elements: Vec<Vec<i32>>,
        exported: Vec<i32>,
        globals: Vec<i32>,
        start: Vec<i32>,
    }

    fn body(bytes: &[u8]) -> FunctionBody<'_> {
        FunctionBody::new(BinaryReader::new(bytes, 0))
    }

    /// The names in the order of the functions, the imported one first.
    fn names(module: &[u8]) -> Vec<i32> {
        let (imported, bodies) = functions(module).unwrap();
        assert_eq!(imported, 1);
        let own = bodies.into_iter().map(|bytes| match body(bytes).get_operators_reader().unwrap().read() {
            Ok(Operator::I32Const { value }) => value,
            other => panic!("{other:?}"),
        });
        std::iter::once(-1).chain(own).collect()
    }

    fn meaning(module: &[u8]) -> Meaning {
        let names = names(module);
        let name = |index: u32| names[index as usize];
        let in_expression =
            |expression: &wasmparser::ConstExpr| match expression.get_operators_reader().read() {
                Ok(Operator::RefFunc { function_index }) => name(function_index),
                other => panic!("{other:?}"),
            };
        let mut meaning = Meaning::default();
        let mut types = Vec::new();
        for payload in Parser::new(0).parse_all(module).map(Result::unwrap) {
            match payload {
                Payload::FunctionSection(section) => types.extend(section.into_iter().map(Result::unwrap)),
                Payload::GlobalSection(section) => {
                    let globals = section.into_iter().map(Result::unwrap);
                    meaning.globals.extend(globals.map(|global| in_expression(&global.init_expr)));
                }
                Payload::ExportSection(section) => {
                    let functions =
                        section.into_iter().map(Result::unwrap).filter(|it| it.kind == ExternalKind::Func);
                    meaning.exported.extend(functions.map(|export| name(export.index)));
                }
                Payload::StartSection { func, .. } => meaning.start.push(name(func)),
                Payload::ElementSection(section) => {
                    let elements = section.into_iter().map(|element| match element.unwrap().items {
                        ElementItems::Functions(items) => {
                            items.into_iter().map(|at| name(at.unwrap())).collect()
                        }
                        ElementItems::Expressions(_, items) => {
                            items.into_iter().map(|item| in_expression(&item.unwrap())).collect()
                        }
                    });
                    meaning.elements.extend(elements);
                }
                Payload::CodeSectionEntry(body) => {
                    let at = meaning.functions.len();
                    let operators = body.get_operators_reader().unwrap().into_iter().map(Result::unwrap);
                    let calls = operators.filter_map(|operator| match operator {
                        Operator::Call { function_index } => Some(name(function_index)),
                        _ => None,
                    });
                    meaning.functions.insert(names[at + 1], (types[at], calls.collect()));
                }
                _ => {}
            }
        }
        meaning
    }

    /// Functions `a`, `b` and `c`, and one more that is like each of them, so far away that gzip doesn't see the first any more.
    fn far_apart() -> Vec<Body> {
        let of = |name: i32, calls: Vec<u32>| Body {
            name,
            takes_an_argument: name % 2 == 1,
            calls,
            filling: filling(name as u32 % 3, 4_000),
        };
        vec![
            of(10, vec![IMPORTED, 3]),
            of(14, vec![4, 1, IMPORTED]),
            of(18, vec![5, 5, 6]),
            of(13, vec![]),
            of(11, vec![2]),
            of(15, vec![3, 4]),
        ]
    }

    fn gzipped_bytes(module: &[u8]) -> usize {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(module).unwrap();
        encoder.finish().unwrap().len()
    }

    #[test]
    fn whatever_names_a_function_still_names_the_same_one() {
        let module = module(&far_apart()).finish();
        let ordered = alike_together(&module).unwrap();
        assert_ne!(names(&module), names(&ordered));
        assert_eq!(meaning(&module), meaning(&ordered));
        let expected = meaning(&module);
        assert_eq!(expected.exported, [10]);
        assert_eq!(expected.start, [14]);
        assert_eq!(expected.globals, [18]);
        assert_eq!(expected.elements, [vec![15, -1, 11], vec![14]]);
        assert_eq!(expected.functions[&18], (0, vec![11, 11, 15]));
    }

    #[test]
    fn functions_that_are_alike_stand_side_by_side() {
        let ordered = alike_together(&module(&far_apart()).finish()).unwrap();
        for pair in names(&ordered)[1..].chunks(2) {
            assert_eq!(pair[0] % 3, pair[1] % 3, "{:?}", names(&ordered));
        }
    }

    #[test]
    fn what_is_alike_but_far_apart_gets_smaller() {
        let module = module(&far_apart()).finish();
        let (before, after) = (gzipped_bytes(&module), gzipped_bytes(&alike_together(&module).unwrap()));
        assert!(after < before * 6 / 10, "{after} bytes instead of {before}");
    }

    #[test]
    fn an_order_is_the_same_each_time_and_leaves_nothing_out() {
        let fillings: Vec<Vec<u8>> = (0..200)
            .map(|at| filling(at % 7, at as usize).into_iter().flat_map(i32::to_le_bytes).collect())
            .collect();
        let bodies: Vec<&[u8]> = fillings.iter().map(Vec::as_slice).collect();
        let first = order(&bodies);
        assert_eq!(first, order(&bodies));
        let mut sorted = first;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..bodies.len()));
    }

    #[test]
    fn what_leaves_the_window_is_no_longer_shared() {
        let (long, short) = (vec![7; WINDOW_BYTES], b"a piece of this");
        let bodies: [&[u8]; 3] = [short, short, &long];
        let mut window = Window::new(&bodies);
        window.push(0);
        assert_ne!(window.likeness(1), 0);
        window.push(2);
        assert_eq!(window.likeness(1), 0);
    }

    #[test]
    fn a_module_without_functions_stays_as_it_is() {
        let empty = Module::new().finish();
        assert_eq!(alike_together(&empty).unwrap(), empty);
    }

    #[test]
    fn what_is_no_module_is_an_error_that_says_so() {
        for bytes in [&b""[..], b"no module", b"\0asm\x01\0\0\0\x0a\x01"] {
            let error = alike_together(bytes).unwrap_err();
            assert!(error.to_string().contains("no valid wasm module"), "{error}");
        }
    }

    #[test]
    fn a_section_that_may_name_functions_by_their_place_is_refused() {
        let mut named = module(&far_apart());
        let mut function_names = NameMap::new();
        function_names.append(1, "first");
        let mut section = NameSection::new();
        section.functions(&function_names);
        let error = alike_together(named.section(&section).clone().finish().as_slice()).unwrap_err();
        assert!(error.to_string().contains("section \"name\""), "{error}");
    }

    #[test]
    fn a_section_that_names_no_functions_stays() {
        let data = b"features"[..].into();
        let mut module = module(&far_apart());
        let module = module.section(&CustomSection { name: "target_features".into(), data }).clone().finish();
        let ordered = alike_together(&module).unwrap();
        let is_kept = |payload| matches!(payload, Ok(Payload::CustomSection(it)) if it.data() == b"features");
        assert!(Parser::new(0).parse_all(&ordered).any(is_kept));
    }
}
