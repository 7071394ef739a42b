//! Masks are what docs/protocol.md says they are, whichever instructions make them.

use super::*;
use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
};
use proptest::prelude::*;

fn width(bits: u8) -> Width {
    Width::new(bits).unwrap()
}

fn mask(bits: u8, first_element: u64, elements: usize) -> Vec<u64> {
    let mut acc = vec![0; elements];
    let seed = MaskSeed([7; 32]);
    add_mask(&mut acc, &seed, first_element, width(bits), Sign::Plus);
    acc
}

#[test]
fn the_mask_of_a_zero_seed_is_aes_of_the_counter_in_every_tier() {
    // A 256-bit zero key and the blocks 0, 1, 2: the hash key and the first two outputs of test cases 13 and 14 of
    // McGrew and Viega, "The Galois/Counter Mode of Operation", 2005.
    let keystream = hex::decode(
        "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738bcea7403d4d606b6e074ec5d3baf39d18",
    )
    .unwrap();
    for tier in Tier::available() {
        let stream = || {
            [(
                MaskStream::of_tier(&MaskSeed([0; 32]), tier).unwrap(),
                Sign::Plus,
            )]
        };
        let mut acc = [0_u64; 6];
        add_masks(&mut acc, &stream(), 0, Width::MAX);
        assert!(<u64 as Word>::from_le(&keystream).eq(acc), "{tier}");
        let mut acc = [0_u32; 12];
        add_masks(&mut acc, &stream(), 0, Width::WORD_32);
        assert!(<u32 as Word>::from_le(&keystream).eq(acc), "{tier}");
        let mut acc = [0_u32; 4];
        add_masks(&mut acc, &stream(), 0, width(22));
        let first_three_bytes = [0x00c0_95dc, 0x0040_a278, 0x00ad_8989, 0x0014_a248];
        assert_eq!(acc, first_three_bytes, "{tier}");
    }
    let mut acc = [0; 2];
    add_mask(&mut acc, &MaskSeed([0; 32]), 0, Width::MAX, Sign::Plus);
    assert_eq!(acc, [0x8989_40a2_78c0_95dc, 0x8720_8492_14a2_48ad]);
}

#[test]
fn a_narrower_mask_with_words_of_as_many_bytes_is_the_wider_one_reduced() {
    for bits in 1..=64_u8 {
        let widest = bits.next_multiple_of(8);
        let wide = mask(widest, 3, 9);
        let reduced = wide.into_iter().map(|word| width(bits).reduce(word));
        assert!(reduced.eq(mask(bits, 3, 9)), "{bits}");
    }
}

#[test]
fn the_last_elements_of_the_longest_vector_have_a_mask() {
    for bits in [8, 24, 32, 48, 64] {
        let last_two = mask(bits, u64::MAX - 1, 2);
        assert_eq!(last_two[1], mask(bits, u64::MAX, 1)[0], "{bits}");
    }
}

/// The same words under the same masks through one tier.
fn masked<W: Word>(tier: Tier, words: &[W], signs: &[bool], first: u64, width: Width) -> Vec<W> {
    let streams: Vec<_> = (1..)
        .zip(signs)
        .map(|(seed, plus)| {
            let stream = MaskStream::of_tier(&MaskSeed([seed; 32]), tier).unwrap();
            (stream, if *plus { Sign::Plus } else { Sign::Minus })
        })
        .collect();
    let mut words = words.to_vec();
    add_masks(&mut words, &streams, first, width);
    words
}

/// The first element whose word begins in a block, or the last element there is.
fn first_element_in(block: u128, width: Width) -> u64 {
    let element = (block * 16).div_ceil(width.mask_bytes() as u128);
    u64::try_from(element).unwrap_or(u64::MAX)
}

/// A width, and an element in the middle of nowhere or near one where a byte of the counter or the numbers of elements end.
fn places() -> impl Strategy<Value = (Width, u64)> {
    let bits = prop::sample::select(vec![8_u32, 12, 16, 24, 32, 40, 41, 48, 56, 62]);
    (1_u8..=64, bits, any::<u64>(), 0..40_000_u64).prop_flat_map(|(bits, end, any, off)| {
        let width = width(bits);
        let near = |element: u64| element.saturating_sub(20_000).saturating_add(off);
        prop_oneof![
            Just((width, off)),
            Just((width, any)),
            Just((width, near(first_element_in(1 << end, width)))),
            Just((width, near(u64::MAX))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_tier_adds_the_same_bits(
        (width, first) in places(),
        length in prop_oneof![0_usize..200, 0_usize..30_000],
        signs in prop::collection::vec(any::<bool>(), 0..4),
        value: u64,
    ) {
        let wide: Vec<u64> = (0..length as u64).map(|i| i.wrapping_mul(value)).collect();
        let narrow: Vec<u32> = wide.iter().map(|word| u32::from_low_bits(*word)).collect();
        let expected = (
            masked(Tier::Portable, &narrow, &signs, first, width),
            masked(Tier::Portable, &wide, &signs, first, width),
        );
        for tier in Tier::available() {
            prop_assert!(masked(tier, &narrow, &signs, first, width) == expected.0, "{} 32", tier);
            prop_assert!(masked(tier, &wide, &signs, first, width) == expected.1, "{} 64", tier);
        }
    }

    #[test]
    fn a_mask_is_the_words_of_the_keystream_of_the_ctr_crate(
        seed: [u8; 32],
        (width, first) in places(),
        length in 0_usize..9000,
    ) {
        let word_bytes = width.mask_bytes();
        let mut keystream = vec![0; length * word_bytes];
        let mut cipher = Ctr128BE::<Aes256>::new(&seed.into(), &[0; 16].into());
        cipher.seek(u128::from(first) * word_bytes as u128);
        cipher.write_keystream(&mut keystream);
        let expected = keystream.chunks(word_bytes).map(|word| {
            let mut element = [0; 8];
            element[..word_bytes].copy_from_slice(word);
            width.reduce(u64::from_le_bytes(element))
        });
        for tier in Tier::available() {
            let stream = MaskStream::of_tier(&MaskSeed(seed), tier).unwrap();
            let mut words = vec![0_u64; length];
            add_masks(&mut words, &[(stream, Sign::Plus)], first, width);
            let found = words.into_iter().map(|word| width.reduce(word));
            prop_assert!(found.eq(expected.clone()), "{}", tier);
        }
    }
}

#[test]
fn every_tier_adds_the_same_bits_to_whole_pieces_at_the_ends_of_counter_bytes() {
    // Pieces are where two rounds are shared; these cross the end of a byte of the counter, the third of five of it.
    for bits in (1..=8).map(|bytes| 8 * bytes) {
        let width = width(bits);
        for end in [8, 16, 24, 32, 40, 48, 56] {
            let across = first_element_in(1 << end, width);
            let first = (across - across % 4096).saturating_sub(2 * 4096);
            let words = vec![5_u64; 5 * 4096];
            let narrow = vec![5_u32; 5 * 4096];
            let expected = (
                masked(Tier::Portable, &words, &[true, false], first, width),
                masked(Tier::Portable, &narrow, &[true, false], first, width),
            );
            for tier in Tier::available() {
                let found = masked(tier, &words, &[true, false], first, width);
                assert!(found == expected.0, "{tier}, {width}, 2^{end}");
                let found = masked(tier, &narrow, &[true, false], first, width);
                assert!(found == expected.1, "{tier}, {width}, 2^{end}");
            }
        }
    }
}

#[test]
fn more_streams_than_can_be_summed_at_a_time_are_all_added() {
    let seed = |number: u16| {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        MaskSeed(seed)
    };
    for (bits, signs) in [
        (22, [Sign::Plus, Sign::Plus]),
        (45, [Sign::Plus, Sign::Minus]),
    ] {
        let sign = |number: u16| signs[usize::from(number % 2)];
        let mut expected = vec![1; 5000];
        (0..300).for_each(|n| add_mask(&mut expected, &seed(n), 77, width(bits), sign(n)));
        for tier in Tier::available() {
            let stream = |n| (MaskStream::of_tier(&seed(n), tier).unwrap(), sign(n));
            let streams: Vec<_> = (0..300).map(stream).collect();
            let mut words = vec![1_u64; 5000];
            add_masks(&mut words, &streams, 77, width(bits));
            let found = words.into_iter().map(|word| width(bits).reduce(word));
            assert!(found.eq(expected.iter().copied()), "{tier}, {bits}");
        }
    }
}

proptest! {
    #[test]
    fn a_range_is_masked_as_it_is_within_the_whole(bits in 1_u8..=64, first in 0_usize..3000, length in 0_usize..1500) {
        let whole = mask(bits, 0, first + length);
        prop_assert_eq!(&whole[first..], mask(bits, first as u64, length));
    }

    #[test]
    fn what_is_added_is_taken_away_again(bits in 1_u8..=64, values: Vec<u64>, first: u32) {
        let width = width(bits);
        let values: Vec<u64> = values.into_iter().map(|value| width.reduce(value)).collect();
        let mut acc = values.clone();
        add_mask(&mut acc, &MaskSeed([9; 32]), first.into(), width, Sign::Plus);
        add_mask(&mut acc, &MaskSeed([9; 32]), first.into(), width, Sign::Minus);
        prop_assert_eq!(acc, values);
    }
}
