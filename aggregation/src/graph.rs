//! Which members share a mask: the edges along which masks cancel.

use crate::MemberIndex;
use std::collections::BTreeSet;

/// The rule by which a cohort's neighbours are chosen, fixed in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Graph {
    /// Everybody is everybody's neighbour (Bonawitz et al. 2017).
    Complete,
}

impl Graph {
    /// The neighbours of `member` among `members`, in order of position; none for who is not a member.
    #[must_use]
    pub fn neighbours(self, member: MemberIndex, members: &[MemberIndex]) -> Vec<MemberIndex> {
        match self {
            Self::Complete if members.contains(&member) => {
                let distinct: BTreeSet<MemberIndex> = members.iter().copied().collect();
                distinct
                    .into_iter()
                    .filter(|&other| other != member)
                    .collect()
            }
            Self::Complete => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(positions: &[u32]) -> Vec<MemberIndex> {
        positions
            .iter()
            .map(|&x| MemberIndex::new(x).unwrap())
            .collect()
    }

    #[test]
    fn in_a_complete_graph_everybody_else_is_a_neighbour_once() {
        let cohort = members(&[5, 2, 9, 2]);
        let neighbours = Graph::Complete.neighbours(cohort[0], &cohort);
        assert_eq!(neighbours, members(&[2, 9]));
    }

    #[test]
    fn who_is_not_a_member_has_no_neighbour() {
        let stranger = members(&[7])[0];
        assert!(
            Graph::Complete
                .neighbours(stranger, &members(&[1, 2]))
                .is_empty()
        );
    }
}
