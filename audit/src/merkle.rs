//! The Merkle tree of Certificate Transparency (RFC 6962 §2.1): roots, inclusion and consistency proofs, and their checks.

use sha2::{Digest, Sha256};

use crate::hash::Hash;

/// A tree that only grows.
///
/// `levels[k][i]` is the hash of the complete subtree over the leaves `i·2^k .. (i+1)·2^k`, so that a root or a proof
/// costs O(log n) and a leaf 64 bytes in all.
#[derive(Debug, Clone, Default)]
pub struct MerkleTree {
    levels: Vec<Vec<Hash>>,
}

impl MerkleTree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf by its [`leaf_hash`]; returns its index.
    pub fn push(&mut self, leaf: Hash) -> u64 {
        let index = self.size();
        let mut node = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(node);
            if nodes.len() % 2 == 1 {
                break;
            }
            node = node_hash(&nodes[nodes.len() - 2], &nodes[nodes.len() - 1]);
        }
        index
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        self.hash_of(0, self.size())
    }

    /// The root over the first `size` leaves; none if there are fewer.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        (size <= self.size()).then(|| self.hash_of(0, size))
    }

    /// The proof that the leaf `index` is in the tree of the first `size` leaves (RFC 6962 §2.1.1); none if it is not.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let mut proof = Vec::new();
        self.path(index, 0, size, &mut proof);
        Some(proof)
    }

    /// The proof that the tree of `new_size` leaves extends that of `old_size` (RFC 6962 §2.1.2); none if there is no such
    /// tree. Empty if the sizes are equal or the old tree is empty: then the roots say all.
    pub fn consistency_proof(&self, old_size: u64, new_size: u64) -> Option<Vec<Hash>> {
        if old_size > new_size || new_size > self.size() {
            return None;
        }
        let mut proof = Vec::new();
        if old_size > 0 {
            self.subproof(old_size, 0, new_size, true, &mut proof);
        }
        Some(proof)
    }

    /// MTH over the leaves `start..end`; `start` is a multiple of the least power of two that is not below `end - start`.
    fn hash_of(&self, start: u64, end: u64) -> Hash {
        let length = end - start;
        if length == 0 {
            return Hash(Sha256::digest([]).into());
        }
        if length.is_power_of_two() {
            return self.levels[to_usize(length.trailing_zeros().into())][to_usize(start / length)];
        }
        let middle = start + split(length);
        node_hash(&self.hash_of(start, middle), &self.hash_of(middle, end))
    }

    /// PATH(index, leaves `start..end`), RFC 6962 §2.1.1.
    fn path(&self, index: u64, start: u64, end: u64, proof: &mut Vec<Hash>) {
        if end - start == 1 {
            return;
        }
        let middle = start + split(end - start);
        if index < middle {
            self.path(index, start, middle, proof);
            proof.push(self.hash_of(middle, end));
        } else {
            self.path(index, middle, end, proof);
            proof.push(self.hash_of(start, middle));
        }
    }

    /// SUBPROOF(old_end - start, leaves `start..end`, known), RFC 6962 §2.1.2.
    fn subproof(&self, old_end: u64, start: u64, end: u64, known: bool, proof: &mut Vec<Hash>) {
        if old_end == end {
            if !known {
                proof.push(self.hash_of(start, end));
            }
            return;
        }
        let middle = start + split(end - start);
        if old_end <= middle {
            self.subproof(old_end, start, middle, known, proof);
            proof.push(self.hash_of(middle, end));
        } else {
            self.subproof(old_end, middle, end, false, proof);
            proof.push(self.hash_of(start, middle));
        }
    }
}

/// The hash of a leaf: SHA-256(0x00 ‖ entry), RFC 6962 §2.1.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize()
            .into(),
    )
}

/// Checks that `leaf` is the leaf `index` of the tree with `size` leaves and this `root` (RFC 9162 §2.1.3.2, the check that
/// belongs to the proof of RFC 6962).
///
/// # Errors
/// [`ProofError`] if it does not show it.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if hash == *root {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

/// Checks that the tree with `new_size` leaves and `new_root` extends that with `old_size` and `old_root` (RFC 9162 §2.1.4.2).
///
/// # Errors
/// [`ProofError`] if it does not show it: then one log was shown to one party and another to another.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::OutOfRange);
    }
    if old_size == new_size || old_size == 0 {
        let empty = MerkleTree::new().root();
        return match () {
            () if !proof.is_empty() => Err(ProofError::WrongLength),
            () if old_size == 0 && *old_root != empty => Err(ProofError::WrongRoot),
            () if old_size == new_size && old_root != new_root => Err(ProofError::WrongRoot),
            () => Ok(()),
        };
    }
    // A complete old tree is a node of the new one; the proof then leaves it out.
    let mut rest = proof.iter();
    let first = if old_size.is_power_of_two() {
        old_root
    } else {
        rest.next().ok_or(ProofError::WrongLength)?
    };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

/// A proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index or the sizes name no such tree.
    #[error("the proof is for a leaf or tree that cannot be")]
    OutOfRange,
    /// Too few or too many hashes for these sizes.
    #[error("the proof has the wrong length")]
    WrongLength,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

impl ProofError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfRange => "proof_out_of_range",
            Self::WrongLength => "proof_length",
            Self::WrongRoot => "proof_root",
        }
    }
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

fn to_usize(index: u64) -> usize {
    usize::try_from(index).expect("the index of a hash in memory fits the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs, roots and proofs of the reference implementation (certificate-transparency, merkle_tree_test.cc).
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    const INCLUSION: [(u64, u64, &[&str]); 2] = [
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ];
    const CONSISTENCY: [(u64, u64, &[&str]); 3] = [
        (1, 8, INCLUSION[0].2),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];

    fn hashes(texts: &[&str]) -> Vec<Hash> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn known_tree() -> MerkleTree {
        let mut tree = MerkleTree::new();
        for leaf in LEAVES {
            tree.push(leaf_hash(&hex::decode(leaf).unwrap()));
        }
        tree
    }

    fn numbered_tree(size: u64) -> MerkleTree {
        let mut tree = MerkleTree::new();
        for leaf in 0..size {
            tree.push(leaf_hash(&leaf.to_be_bytes()));
        }
        tree
    }

    #[test]
    fn the_known_leaves_have_the_known_roots() {
        let tree = known_tree();
        for (size, root) in (0..).zip(hashes(&ROOTS)) {
            assert_eq!(tree.root_at(size), Some(root));
        }
        assert_eq!(tree.root_at(9), None);
    }

    #[test]
    fn the_known_proofs_are_made_and_accepted() {
        let tree = known_tree();
        for (index, size, proof) in INCLUSION {
            let proof = hashes(proof);
            assert_eq!(tree.inclusion_proof(index, size), Some(proof.clone()));
            let leaf = leaf_hash(&hex::decode(LEAVES[to_usize(index)]).unwrap());
            verify_inclusion(&leaf, index, size, &proof, &tree.root()).unwrap();
        }
        for (old, new, proof) in CONSISTENCY {
            let proof = hashes(proof);
            assert_eq!(tree.consistency_proof(old, new), Some(proof.clone()));
            let (old_root, new_root) = (tree.root_at(old).unwrap(), tree.root_at(new).unwrap());
            verify_consistency(old, &old_root, new, &new_root, &proof).unwrap();
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_shown_and_no_other() {
        let tree = numbered_tree(33);
        for size in 1..=33 {
            let root = tree.root_at(size).unwrap();
            for index in 0..size {
                let proof = tree.inclusion_proof(index, size).unwrap();
                let leaf = leaf_hash(&index.to_be_bytes());
                verify_inclusion(&leaf, index, size, &proof, &root).unwrap();
                assert!(
                    verify_inclusion(&leaf_hash(b"other"), index, size, &proof, &root).is_err()
                );
                if size > 1 {
                    let wrong = (index + 1) % size;
                    assert!(verify_inclusion(&leaf, wrong, size, &proof, &root).is_err());
                    assert!(verify_inclusion(&leaf, index, size, &proof[1..], &root).is_err());
                }
                let longer = [proof.as_slice(), &[leaf]].concat();
                assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
            }
            assert_eq!(tree.inclusion_proof(size, size), None);
        }
    }

    #[test]
    fn every_two_sizes_are_consistent_and_a_fork_is_not() {
        let tree = numbered_tree(33);
        for new in 0..=33 {
            for old in 0..=new {
                let proof = tree.consistency_proof(old, new).unwrap();
                let (old_root, new_root) = (tree.root_at(old).unwrap(), tree.root_at(new).unwrap());
                verify_consistency(old, &old_root, new, &new_root, &proof).unwrap();
                let other = leaf_hash(b"fork");
                assert!(verify_consistency(old, &other, new, &new_root, &proof).is_err());
                if old > 0 {
                    assert!(verify_consistency(old, &old_root, new, &other, &proof).is_err());
                }
                for position in 0..proof.len() {
                    let mut forged = proof.clone();
                    forged[position].0[0] ^= 1;
                    assert!(verify_consistency(old, &old_root, new, &new_root, &forged).is_err());
                    forged.truncate(position);
                    assert!(verify_consistency(old, &old_root, new, &new_root, &forged).is_err());
                }
                let longer = [proof.as_slice(), &[other]].concat();
                assert!(verify_consistency(old, &old_root, new, &new_root, &longer).is_err());
            }
        }
        assert_eq!(tree.consistency_proof(5, 4), None);
        assert_eq!(tree.consistency_proof(5, 34), None);
    }
}
