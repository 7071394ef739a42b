//! The Merkle hash over the chunks of an update, built while the chunks stream by.

use crate::{Digest, parallel::on_each};
use sha2::{Digest as _, Sha256};
use std::num::NonZeroUsize;

/// In front of a leaf, so that no chunk hashes like a node (RFC 6962 section 2.1).
const LEAF: [u8; 1] = [0];
/// In front of a node.
const NODE: [u8; 1] = [1];

/// The Merkle tree hash of RFC 6962 section 2.1 over chunks, in logarithmic memory.
#[derive(Clone, Debug, Default)]
pub struct ChunkTree {
    /// Roots of complete subtrees, the largest first: one for each bit set in `chunks`.
    subtrees: Vec<Digest>,
    chunks: u64,
}

impl ChunkTree {
    /// A tree over no chunks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree over `bytes` cut into chunks of `chunk_bytes`.
    pub(crate) fn over(bytes: &[u8], chunk_bytes: usize) -> Self {
        let mut tree = Self::new();
        bytes.chunks(chunk_bytes).for_each(|chunk| tree.push(chunk));
        tree
    }

    /// The hash of one chunk as a leaf of the tree: what recognises it when it comes again.
    #[must_use]
    pub fn leaf(chunk: &[u8]) -> Digest {
        hash(LEAF, chunk, &[])
    }

    /// [`Self::over`] by so many threads.
    pub(crate) fn over_with(bytes: &[u8], chunk_bytes: usize, workers: NonZeroUsize) -> Self {
        if workers == NonZeroUsize::MIN {
            return Self::over(bytes, chunk_bytes);
        }
        let chunks = bytes.len().div_ceil(chunk_bytes);
        let mut leaves = vec![Digest::of(&[]); chunks];
        let part = chunks.div_ceil(workers.get()).max(1);
        let parts = leaves
            .chunks_mut(part)
            .zip(bytes.chunks(part * chunk_bytes));
        on_each(parts, |(leaves, bytes)| {
            for (leaf, chunk) in leaves.iter_mut().zip(bytes.chunks(chunk_bytes)) {
                *leaf = Self::leaf(chunk);
            }
        });
        let mut tree = Self::new();
        leaves.into_iter().for_each(|leaf| tree.push_leaf(leaf));
        tree
    }

    /// Appends one chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.push_leaf(Self::leaf(chunk));
    }

    /// Appends one chunk of which only the leaf is at hand.
    pub fn push_leaf(&mut self, leaf: Digest) {
        let mut root = leaf;
        // Adding one to the count carries through its trailing ones: each carry closes a subtree.
        for _ in 0..self.chunks.trailing_ones() {
            let left = self
                .subtrees
                .pop()
                .expect("each bit set in the count has a subtree");
            root = node(&left, &root);
        }
        self.subtrees.push(root);
        self.chunks += 1;
    }

    /// The chunks so far.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The tree hash of the chunks so far; of none, the SHA-256 of the empty string.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.subtrees
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node(&left, &right))
            .unwrap_or_else(|| Digest::of(&[]))
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    hash(NODE, left.as_bytes(), right.as_bytes())
}

fn hash(kind: [u8; 1], first: &[u8], second: &[u8]) -> Digest {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update(first)
        .chain_update(second)
        .finalize();
    Digest::new(digest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recursive definition of RFC 6962 section 2.1.
    fn defined(chunks: &[&[u8]]) -> Digest {
        match chunks {
            [] => Digest::of(&[]),
            [chunk] => hash(LEAF, chunk, &[]),
            _ => {
                let split = chunks.len().next_power_of_two() / 2;
                node(&defined(&chunks[..split]), &defined(&chunks[split..]))
            }
        }
    }

    #[test]
    fn the_streaming_hash_is_the_recursive_one() {
        let bytes: Vec<u8> = (0..67).collect();
        for length in 0..=bytes.len() {
            let chunks: Vec<&[u8]> = bytes[..length].chunks(1).collect();
            let tree = ChunkTree::over(&bytes[..length], 1);
            assert_eq!(tree.root(), defined(&chunks), "{length}");
            let mut from_leaves = ChunkTree::new();
            let leaves = chunks.iter().map(|chunk| ChunkTree::leaf(chunk));
            leaves.for_each(|leaf| from_leaves.push_leaf(leaf));
            assert_eq!(from_leaves.root(), tree.root(), "{length}");
            assert_eq!(tree.chunks(), length as u64);
            for workers in 1..5 {
                let workers = NonZeroUsize::new(workers).unwrap();
                let tree = ChunkTree::over_with(&bytes[..length], 1, workers);
                assert_eq!(tree.root(), defined(&chunks), "{length} {workers}");
            }
        }
    }

    #[test]
    fn the_hashes_are_those_published_for_certificate_transparency() {
        // The reference tree of the certificate-transparency project (merkletree tests).
        let chunks = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = ChunkTree::new();
        for (chunk, root) in chunks.into_iter().zip(roots) {
            tree.push(&hex::decode(chunk).unwrap());
            assert_eq!(tree.root().to_string(), root, "{chunk}");
        }
    }

    #[test]
    fn order_and_boundaries_of_chunks_change_the_hash() {
        let root = |chunks: &[&[u8]]| {
            let mut tree = ChunkTree::new();
            chunks.iter().for_each(|chunk| tree.push(chunk));
            tree.root()
        };
        let expected = root(&[b"ab", b"cd"]);
        assert_ne!(root(&[b"cd", b"ab"]), expected);
        assert_ne!(root(&[b"a", b"bcd"]), expected);
        assert_ne!(root(&[b"abcd"]), expected);
        assert_ne!(root(&[b"ab", b"cd", b""]), expected);
    }
}
