//! The fused kernel: keystream that goes from registers into what it is added to, written once for vectors of 1, 2, 4 blocks.
//!
//! # Two rounds for the price of one addition
//! A row is 256 counter blocks that differ in byte 15 alone, and the rows of a piece differ from each other in bytes 11 to 14
//! alone, unless a multiple of 2^40 blocks lies between them. ShiftRows moves byte 15 from column 3 into column 0, and bytes
//! 14, 13, 12 and 11 into columns 1, 2, 3 and 3 (FIPS 197 section 5.1.2). So after round 1 column 0 depends on byte 15 and the
//! others on the row, no byte on both, and since what follows SubBytes in round 2 is linear, the state after round 2 is a
//! term of the one plus a term of the other:
//!
//! ```text
//! round2(row, column) = round2(0, column) ^ round2(row, 0) ^ round2(0, 0)
//! ```
//!
//! The last two are made once for a row, the first once for all rows, and 12 of 14 rounds remain per vector. (Caching the
//! first rounds of counter mode is from Park and Lee, "FACE: Fast AES CTR mode Encryption Techniques based on the Reuse of
//! Repetitive Data", TCHES 2018(3); here no table is looked up.)
//!
//! # What keystream is added to
//! `LANE` is the bytes of one number: 4 or 8 where it is added to words of that size, in one plane; 2 where it is added to the
//! two planes of `ByteSums`. A plane has as many bytes as the keystream, and each vector the same place in both.

/// The blocks of one row.
pub(super) const ROW_BLOCKS: u64 = 256;

/// The bytes of keystream of one row.
pub(super) const ROW_BYTES: usize = 256 * 16;

/// Rows that lie between the same multiples of so many blocks can share their first two rounds.
pub(super) const SHARING_BLOCKS: u64 = 1 << 40;

/// Writes `add_to_words`, `add_to_sums`, and what they need, for the vectors of one tier.
///
/// The module that calls it has `Vector`, `LANES` and the operations `load`, `store`, `broadcast`, `xor`, `add_lane_numbers`,
/// `next_counters`, `round`, `last_round`, `plus`, `minus` and `shuffle`.
macro_rules! kernel {
    ($features:literal) => {
        /// The bytes of one vector.
        const BYTES: usize = LANES * 16;
        /// The vectors of one row.
        const COLUMNS: usize = ROW_BYTES / BYTES;

        /// One plane of rows.
        type Rows<const ROWS: usize> = [[[u8; BYTES]; COLUMNS]; ROWS];

        /// Adds or subtracts the keystream from `position` on, in words of their own size.
        #[target_feature(enable = $features)]
        pub(super) fn add_to_words<W: Word>(
            keys: &RoundKeys,
            words: &mut [W],
            position: Position,
            sign: Sign,
        ) {
            let plane = [as_bytes(words)];
            if W::BYTES == 4 {
                add::<4, 1, 4, 2>(keys, plane, position, sign);
            } else {
                add::<8, 1, 4, 2>(keys, plane, position, sign);
            }
        }

        /// Adds or subtracts whole blocks of keystream, from `position` on, in the planes of `ByteSums`.
        #[target_feature(enable = $features)]
        pub(super) fn add_to_sums(
            keys: &RoundKeys,
            planes: [&mut [u8]; 2],
            position: Position,
            sign: Sign,
        ) {
            // As many columns at a time as make five to eight vectors in flight.
            match planes[0].len() / ROW_BYTES {
                1 => add::<2, 2, 1, 8>(keys, planes, position, sign),
                2 => add::<2, 2, 2, 4>(keys, planes, position, sign),
                3 => add::<2, 2, 3, 2>(keys, planes, position, sign),
                4 => add::<2, 2, 4, 2>(keys, planes, position, sign),
                5 => add::<2, 2, 5, 1>(keys, planes, position, sign),
                7 => add::<2, 2, 7, 1>(keys, planes, position, sign),
                // A part of a piece.
                _ => add_vectors::<2, 2>(keys, planes, position, sign),
            }
        }

        /// `ByteSums::settle`, compiled for these instructions.
        #[target_feature(enable = $features)]
        pub(super) fn settle<W: Word>(sums: &mut ByteSums, words: &mut [W], span: Span) {
            sums.settle(words, span);
        }

        /// Adds or subtracts `ROWS` whole rows, `AT_ONCE` columns at a time, or vector by vector what is no such rows.
        #[target_feature(enable = $features)]
        fn add<const LANE: usize, const PLANES: usize, const ROWS: usize, const AT_ONCE: usize>(
            keys: &RoundKeys,
            planes: [&mut [u8]; PLANES],
            position: Position,
            sign: Sign,
        ) {
            let blocks = ROWS as u64 * ROW_BLOCKS;
            let shared = position.block % SHARING_BLOCKS <= SHARING_BLOCKS - blocks;
            let whole = planes[0].len() == ROWS * ROW_BYTES;
            if position.bytes_into(ROW_BYTES) == 0 && shared && whole {
                let rows = planes.map(|plane| whole_rows::<ROWS>(plane));
                add_rows::<LANE, PLANES, ROWS, AT_ONCE>(keys, rows, position.block, sign);
            } else {
                add_vectors::<LANE, PLANES>(keys, planes, position, sign);
            }
        }

        /// Adds or subtracts the keystream of whole rows from a multiple of `ROW_BLOCKS` on.
        #[target_feature(enable = $features)]
        fn add_rows<
            const LANE: usize,
            const PLANES: usize,
            const ROWS: usize,
            const AT_ONCE: usize,
        >(
            keys: &RoundKeys,
            mut planes: [&mut Rows<ROWS>; PLANES],
            first_block: u64,
            sign: Sign,
        ) {
            let keys = broadcast_keys(keys);
            let first = first_two_rounds(broadcast(&counter(first_block)), &keys);
            let mut row_terms = [first; ROWS];
            let mut block = first_block;
            for term in &mut row_terms {
                let start = first_two_rounds(broadcast(&counter(block)), &keys);
                *term = xor(start, first);
                block += ROW_BLOCKS;
            }
            let mut counters = counters_from(first_block);
            let second_bytes = second_bytes();
            for step in 0..COLUMNS / AT_ONCE {
                let mut states = [row_terms; AT_ONCE];
                for column in &mut states {
                    let column_term = first_two_rounds(counters, &keys);
                    counters = next_counters(counters);
                    for state in column {
                        *state = xor(column_term, *state);
                    }
                }
                for key in &keys[3..14] {
                    for state in states.as_flattened_mut() {
                        *state = round(*state, *key);
                    }
                }
                for (column, states) in (step * AT_ONCE..).zip(&states) {
                    for (row, state) in states.iter().enumerate() {
                        let mask = last_round(*state, keys[14]);
                        for (plane, rows) in planes.iter_mut().enumerate() {
                            let sums = &mut rows[row][column];
                            combine::<LANE>(sums, part(mask, plane, second_bytes), sign);
                        }
                    }
                }
            }
        }

        /// Adds or subtracts any keystream, each vector of it through all rounds.
        #[target_feature(enable = $features)]
        fn add_vectors<const LANE: usize, const PLANES: usize>(
            keys: &RoundKeys,
            mut planes: [&mut [u8]; PLANES],
            mut position: Position,
            sign: Sign,
        ) {
            let keys = broadcast_keys(keys);
            let second_bytes = second_bytes();
            let length = planes[0].len();
            let mut done = 0;
            while done < length {
                let from = position.bytes_into(BYTES);
                let count = (BYTES - from).min(length - done);
                let first_block = position.block - position.block % LANES as u64;
                let mask = all_rounds(counters_from(first_block), &keys);
                for (plane, sums) in planes.iter_mut().enumerate() {
                    let sums = &mut sums[done..done + count];
                    let mask = part(mask, plane, second_bytes);
                    if let Ok(sums) = <&mut [u8; BYTES]>::try_from(&mut *sums) {
                        combine::<LANE>(sums, mask, sign);
                    } else {
                        let mut whole = [0; BYTES];
                        whole[from..from + count].copy_from_slice(sums);
                        combine::<LANE>(&mut whole, mask, sign);
                        sums.copy_from_slice(&whole[from..from + count]);
                        whole.zeroize();
                    }
                }
                position = position.forward(count);
                done += count;
            }
        }

        /// A plane of whole rows as such.
        fn whole_rows<const ROWS: usize>(plane: &mut [u8]) -> &mut Rows<ROWS> {
            let vectors = plane.as_chunks_mut::<BYTES>().0;
            let rows = vectors.as_chunks_mut::<COLUMNS>().0;
            rows.try_into().expect("the plane was measured")
        }

        /// The round keys, each in all lanes. (Closures given to `map` would be compiled without the instructions.)
        #[inline]
        #[target_feature(enable = $features)]
        fn broadcast_keys(keys: &RoundKeys) -> [Vector; 15] {
            let mut vectors = [broadcast(&[0; 16]); 15];
            for (vector, key) in vectors.iter_mut().zip(&keys.0) {
                *vector = broadcast(key);
            }
            vectors
        }

        /// One block through all rounds, for known answers.
        #[cfg(test)]
        #[target_feature(enable = $features)]
        pub(super) fn encrypt(keys: &RoundKeys, block: &[u8; 16]) -> [u8; 16] {
            let mut lanes = [0; BYTES];
            store(
                &mut lanes,
                all_rounds(broadcast(block), &broadcast_keys(keys)),
            );
            let blocks = lanes.as_chunks::<16>().0;
            assert!(blocks.iter().all(|block| *block == blocks[0]));
            blocks[0]
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn all_rounds(counters: Vector, keys: &[Vector; 15]) -> Vector {
            let mut state = first_two_rounds(counters, keys);
            for key in &keys[3..14] {
                state = round(state, *key);
            }
            last_round(state, keys[14])
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn first_two_rounds(counters: Vector, keys: &[Vector; 15]) -> Vector {
            round(round(xor(counters, keys[0]), keys[1]), keys[2])
        }

        /// The counters of a multiple of `LANES` blocks and of those after it.
        #[inline]
        #[target_feature(enable = $features)]
        fn counters_from(first_block: u64) -> Vector {
            add_lane_numbers(broadcast(&counter(first_block)))
        }

        /// A counter block: the counter as one 128-bit big-endian integer.
        #[inline]
        fn counter(block: u64) -> [u8; 16] {
            u128::from(block).to_be_bytes()
        }

        /// What of a vector of keystream is added in one plane: all of it in the first, the second bytes of pairs in the other.
        #[inline]
        #[target_feature(enable = $features)]
        fn part(mask: Vector, plane: usize, second_bytes: Vector) -> Vector {
            match plane {
                0 => mask,
                _ => shuffle(mask, second_bytes),
            }
        }

        /// What shuffles the second byte of each pair into the place of the first, and a zero into its own.
        ///
        /// Hidden from the compiler, which would make a shift of it: that takes the place of an AES instruction.
        #[inline]
        #[target_feature(enable = $features)]
        fn second_bytes() -> Vector {
            broadcast(&std::hint::black_box([
                1, 0x80, 3, 0x80, 5, 0x80, 7, 0x80, 9, 0x80, 11, 0x80, 13, 0x80, 15, 0x80,
            ]))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn combine<const LANE: usize>(sums: &mut [u8; BYTES], masks: Vector, sign: Sign) {
            let before = load(sums);
            let after = match sign {
                Sign::Plus => plus::<LANE>(before, masks),
                Sign::Minus => minus::<LANE>(before, masks),
            };
            store(sums, after);
        }
    };
}

pub(super) use kernel;
