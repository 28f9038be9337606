//! Verification of content through the public surface, natively and on wasm32 (where another hash implementation runs).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use tabswarm_core::{
    content::{ChainingValue, GROUP_LEN, GroupList, ListHasher, SegmentHasher, SegmentLen},
    id::ContentId,
    units::GroupIndex,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// One below, at and above every edge of the tree's shape.
const LENGTHS: [usize; 7] = [1, 16_383, 16_384, 16_385, 32_768, 49_153, 1024 * 1024 + 1];

fn sample(len: usize) -> Vec<u8> {
    (0..len as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn list_of(bytes: &[u8]) -> GroupList {
    let mut hasher = ListHasher::new();
    hasher.update(bytes).unwrap();
    hasher.finish_list().unwrap()
}

fn groups(bytes: &[u8]) -> Vec<(GroupIndex, &[u8])> {
    let groups = bytes.chunks(GROUP_LEN as usize).enumerate();
    groups.map(|(index, group)| (GroupIndex::new(index as u32), group)).collect()
}

#[test]
fn roots_are_plain_blake3_hashes() {
    for len in LENGTHS {
        let bytes = sample(len);
        assert_eq!(list_of(&bytes).root().as_bytes(), blake3::hash(&bytes).as_bytes(), "{len} bytes");
    }
}

#[test]
fn groups_verify_alone_and_in_any_order() {
    for len in LENGTHS {
        let bytes = sample(len);
        let list = list_of(&bytes);
        for (index, group) in groups(&bytes).into_iter().rev() {
            assert!(list.check(index, group), "{len} bytes");
            let mut hasher = SegmentHasher::new(index);
            let mut seen = None;
            for slice in group.chunks(1000) {
                hasher.update(slice, |index, digest| seen = Some((index, digest)));
            }
            let (index, digest) = seen.or_else(|| hasher.finish()).unwrap();
            assert!(list.check_value(index, digest), "{len} bytes, in slices");
        }
    }
}

#[test]
fn no_changed_group_verifies() {
    for len in LENGTHS {
        let bytes = sample(len);
        let list = list_of(&bytes);
        let groups = groups(&bytes);
        for (index, group) in &groups {
            let mut flipped = group.to_vec();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 0x10;
            assert!(!list.check(*index, &flipped), "a flipped bit");
            assert!(!list.check(*index, &group[..group.len() - 1]), "a missing byte");
            assert!(!list.check(*index, &[group, &[0][..]].concat()), "a byte too many");
            let another = groups.iter().find(|(other, _)| other != index);
            assert!(!another.is_some_and(|(_, group)| list.check(*index, group)), "another group");
        }
    }
}

#[test]
fn no_list_verifies_under_another_root_or_shape() {
    let list = list_of(&sample(49_153));
    let other = ContentId::from_bytes([7; 32]);
    assert!(GroupList::verified(other, list.len(), list.values().to_vec()).is_err());
    let three = SegmentLen::new(49_152).unwrap();
    assert!(GroupList::verified(list.root(), three, list.values().to_vec()).is_err());
    let mut longer = list.values().to_vec();
    longer.push(ChainingValue::from_bytes([0; 32]));
    assert!(GroupList::verified(list.root(), list.len(), longer).is_err());
}
