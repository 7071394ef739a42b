//! The fused kernel: keystream that goes from registers into the words it masks, written once for vectors of 1, 2, 4 blocks.
//!
//! # Two rounds for the price of one addition
//! A row is 256 counter blocks that differ in byte 15 alone, and the [`ROWS`] rows of a piece differ from each other in
//! byte 14 alone, since a piece begins at a multiple of itself. Both bytes are in column 3 of the state; ShiftRows moves
//! byte 15, of row 3, into column 0 and byte 14, of row 2, into column 1 (FIPS 197 section 5.1.2). So after round 1
//! column 0 depends on byte 15 and column 1 on byte 14, no byte on both, and since what follows SubBytes in round 2 is
//! linear, the state after round 2 is a term of the one plus a term of the other:
//!
//! ```text
//! round2(row, column) = round2(0, column) ^ round2(row, 0) ^ round2(0, 0)
//! ```
//!
//! The last two are made once for a row, the first once for all rows, and 12 of 14 rounds remain per vector. (Caching the
//! first rounds of counter mode is from Park and Lee, "FACE: Fast AES CTR mode Encryption Techniques based on the Reuse of
//! Repetitive Data", TCHES 2018(3); here no table is looked up.)

/// The bytes of keystream of one row: 256 blocks.
pub(super) const ROW_BYTES: usize = 256 * 16;

/// The rows that are masked together: as many states in flight as hide the latency of one round.
pub(super) const ROWS: usize = 8;

/// The bytes of keystream that are masked together, when they begin at a multiple of themselves.
pub(super) const PIECE_BYTES: usize = ROWS * ROW_BYTES;

/// Writes `add`, and what it needs, for the vectors of one tier.
///
/// The module that calls it has `Vector`, `LANES` and the operations `load`, `store`, `broadcast`, `xor`, `add_lane_numbers`, `next_counters`,
/// `round`, `last_round`, `plus` and `minus`.
macro_rules! kernel {
    ($features:literal) => {
        /// The bytes of one vector.
        const BYTES: usize = LANES * 16;
        /// The vectors of one row.
        const COLUMNS: usize = ROW_BYTES / BYTES;

        /// Adds or subtracts the keystream from `position` on.
        #[target_feature(enable = $features)]
        pub(super) fn add<W: Word>(
            keys: &RoundKeys,
            words: &mut [W],
            position: Position,
            sign: Sign,
        ) {
            match sign {
                Sign::Plus => walk::<W, false>(keys, as_bytes(words), position),
                Sign::Minus => walk::<W, true>(keys, as_bytes(words), position),
            }
        }

        /// Takes the fastest step that the position and the length allow, until nothing is left.
        #[target_feature(enable = $features)]
        fn walk<W: Word, const MINUS: bool>(
            keys: &RoundKeys,
            mut rest: &mut [u8],
            mut position: Position,
        ) {
            while !rest.is_empty() {
                let in_vector = position.bytes_into(BYTES);
                let length = if position.bytes_into(PIECE_BYTES) == 0 && rest.len() >= PIECE_BYTES {
                    PIECE_BYTES
                } else if in_vector == 0 && rest.len() >= BYTES {
                    let in_row = rest.len().min(ROW_BYTES - position.bytes_into(ROW_BYTES));
                    in_row - in_row % BYTES
                } else {
                    rest.len().min(BYTES - in_vector)
                };
                let (bytes, next) = rest.split_at_mut(length);
                let vectors = bytes.as_chunks_mut::<BYTES>().0;
                if length == PIECE_BYTES {
                    for rows in vectors
                        .as_chunks_mut::<COLUMNS>()
                        .0
                        .as_chunks_mut::<ROWS>()
                        .0
                    {
                        add_rows::<W, MINUS>(keys, rows, position.block);
                    }
                } else if in_vector == 0 && length >= BYTES {
                    add_vectors::<W, MINUS>(keys, vectors, position.block);
                } else {
                    add_part::<W, MINUS>(keys, bytes, position.block, in_vector);
                }
                position = position.forward(length);
                rest = next;
            }
        }

        /// Adds or subtracts the keystream of whole rows; `first_block` is the first of a multiple of `ROWS` rows.
        #[target_feature(enable = $features)]
        fn add_rows<W: Word, const MINUS: bool>(
            keys: &RoundKeys,
            rows: &mut [[[u8; BYTES]; COLUMNS]; ROWS],
            first_block: u64,
        ) {
            let keys = broadcast_keys(keys);
            let first = first_two_rounds(broadcast(&counter(first_block)), &keys);
            let mut row_terms = [first; ROWS];
            let mut block = first_block;
            for term in &mut row_terms {
                let start = first_two_rounds(broadcast(&counter(block)), &keys);
                *term = xor(start, first);
                block += 256;
            }
            let mut counters = counters_from(first_block);
            for column in 0..COLUMNS {
                let column_term = first_two_rounds(counters, &keys);
                counters = next_counters(counters);
                let mut states = row_terms;
                for state in &mut states {
                    *state = xor(column_term, *state);
                }
                for key in &keys[3..14] {
                    for state in &mut states {
                        *state = round(*state, *key);
                    }
                }
                for (state, row) in states.iter_mut().zip(rows.iter()) {
                    let mask = last_round(*state, keys[14]);
                    *state = combine::<W, MINUS>(load(&row[column]), mask);
                }
                for (state, row) in states.iter().zip(rows.iter_mut()) {
                    store(&mut row[column], *state);
                }
            }
        }

        /// Adds or subtracts the keystream of whole vectors that lie in one row and begin at a multiple of `LANES` blocks.
        #[target_feature(enable = $features)]
        fn add_vectors<W: Word, const MINUS: bool>(
            keys: &RoundKeys,
            vectors: &mut [[u8; BYTES]],
            first_block: u64,
        ) {
            let keys = broadcast_keys(keys);
            let mut counters = counters_from(first_block);
            for vector in vectors {
                let mask = all_rounds(counters, &keys);
                counters = next_counters(counters);
                store(vector, combine::<W, MINUS>(load(vector), mask));
            }
        }

        /// Adds or subtracts a part of one vector of keystream: of the one that `block` lies in, from a byte on.
        #[target_feature(enable = $features)]
        fn add_part<W: Word, const MINUS: bool>(
            keys: &RoundKeys,
            part: &mut [u8],
            block: u64,
            from: usize,
        ) {
            let keys = broadcast_keys(keys);
            let mut whole = [0; BYTES];
            let range = from..from + part.len();
            whole[range.clone()].copy_from_slice(part);
            let mask = all_rounds(counters_from(block - block % LANES as u64), &keys);
            let masked = combine::<W, MINUS>(load(&whole), mask);
            store(&mut whole, masked);
            part.copy_from_slice(&whole[range]);
            whole.zeroize();
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

        #[inline]
        #[target_feature(enable = $features)]
        fn combine<W: Word, const MINUS: bool>(words: Vector, masks: Vector) -> Vector {
            if MINUS {
                minus::<W>(words, masks)
            } else {
                plus::<W>(words, masks)
            }
        }
    };
}

pub(super) use kernel;
