//! The attempt among ten members, of which the vectors show everything.

use consort_aggregation::{Digest, MemberIndex, PublicKey};
use consort_round::AdvertHead;
use consort_round::blame::{Blame, Proceedings};
use consort_round::messages::{RoundKeyJudge, RoundKeys, SharedSet, keys_context, member_set_hash};
use serde_json::Value;

use crate::answers::{array, at, bytes, digest, list, number, read};
use crate::scene::{Files, Given, Phases, Scene};
use crate::{about, announced, listed, member, members, signature, terms};

const CONTEXT: &str = include_str!("../../../vectors/secure-aggregation/context.json");
const SPARSE: &str = include_str!("../../../vectors/secure-aggregation/context_sparse.json");
const KEYS: &str = include_str!("../../../vectors/secure-aggregation/keys.json");
const SHARING: &str = include_str!("../../../vectors/secure-aggregation/sharing.json");
const UPDATES: &str = include_str!("../../../vectors/secure-aggregation/updates.json");
const OPENING: &str = include_str!("../../../vectors/secure-aggregation/opening.json");
const BLAME: &str = include_str!("../../../vectors/secure-aggregation/blame.json");

fn files() -> Files {
    Files {
        opened: read(CONTEXT),
        keys: read(KEYS),
        sharing: read(SHARING),
        updates: read(UPDATES),
        opening: read(OPENING),
    }
}

fn given(files: &Files, own: MemberIndex) -> Given {
    let advert = about(&files.keys, "/adverts", own).unwrap();
    let mut scalars: Vec<[u8; 32]> = ["/mask_secret", "/share_secret"]
        .map(|name| array(advert, name))
        .to_vec();
    if let Some(statement) = about(&files.sharing, "/statements", own) {
        let mask_key = list(statement, "/mask_key_coefficients").iter();
        let self_mask = list(statement, "/self_mask_coefficients").iter();
        let self_mask: Vec<[u8; 32]> = self_mask.map(|a| array(a, "")).collect();
        scalars.push(self_mask[0]);
        scalars.extend(mask_key.skip(1).map(|a| array::<32>(a, "")));
        scalars.extend(&self_mask[1..]);
    }
    let integers = |said: &Value| serde_json::from_value(at(said, "/integers").clone()).unwrap();
    Given {
        identity_seed: array(advert, "/identity_seed"),
        evidence: bytes(advert, "/evidence"),
        ledger_sequence: number(advert, "/ledger_sequence"),
        scalars,
        integers: about(&files.updates, "/updates", own).map(integers),
    }
}

#[test]
fn a_round_among_members_with_the_scalars_of_the_reference_is_that_of_the_reference() {
    let files = files();
    let u1 = listed(&files.keys, "/adverts");
    let u2 = members(&files.updates, "/u2");
    let u3 = members(&files.opening, "/u3");
    assert!(u3.is_subset(&u2) && u2.is_subset(&u1) && u3.len() < u2.len() && u2.len() < u1.len());
    // Everybody is shown, so that everything that is said is compared.
    assert_eq!(listed(&files.sharing, "/statements"), u2);
    assert_eq!(listed(&files.updates, "/updates"), u3);
    assert_eq!(listed(&files.opening, "/confirmations"), u3);
    assert_eq!(listed(&files.opening, "/answers"), u3);
    let enough = number(&files.sharing, "/threshold");
    assert!(enough < u64::try_from(u3.len()).unwrap());

    let given = u1.iter().map(|own| (*own, given(&files, *own))).collect();
    let confirming = u3.clone();
    Scene::new(files, given).run(&Phases {
        u1,
        u2,
        u3,
        confirming,
    });
}

#[test]
fn the_announcements_of_a_complete_and_of_a_sparse_round_are_those_of_the_reference() {
    for file in [CONTEXT, SPARSE] {
        let opened = read(file);
        let open = announced(&opened);
        assert_eq!(open.terms.context(), digest(&opened, "/ctx"));
        assert_eq!(open.signature, signature(&opened, "/open/signature"));
        assert_eq!(open.announcement(), digest(&opened, "/announcement"));
    }
    assert!(terms(&read(CONTEXT)).thresholds.circle().is_none());
    assert!(terms(&read(SPARSE)).thresholds.circle().is_some());
}

#[test]
fn the_hashes_of_member_sets_are_those_of_the_reference() {
    for set in list(&read(KEYS), "/member_sets") {
        let hash = member_set_hash(&members(set, "/members"));
        assert_eq!(hash, digest(set, "/hash"), "{set}");
    }
}

#[test]
fn the_root_over_the_statements_of_u2_is_that_of_the_reference() {
    let sharing = read(SHARING);
    let statements = list(&sharing, "/statements").iter().map(|said| {
        let signed = Digest::of(&bytes(said, "/bytes"));
        (member(said, "/member"), signed)
    });
    let u2: SharedSet = statements.collect();
    for (file, place) in [
        (SHARING, "/u2_root"),
        (UPDATES, "/u2_root"),
        (OPENING, "/u2_root"),
    ] {
        assert_eq!(u2.root(), digest(&read(file), place));
    }
}

/// Evidence is not what is looked at here.
struct Anything;

impl RoundKeyJudge for Anything {
    fn judge(&self, _keys: &RoundKeys, _evidence: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn the_context_of_the_keys_is_that_of_the_reference() {
    let keys = read(KEYS);
    let open = announced(&read(CONTEXT));
    let adverts = list(&keys, "/adverts").iter().map(|said| {
        let own = member(said, "/member");
        let key = |name| PublicKey::from_bytes(array(said, name)).unwrap();
        let advert = consort_round::Advert {
            member: own,
            mask_key: key("/mask_key"),
            share_key: key("/share_key"),
            evidence: bytes(said, "/evidence"),
            ledger_sequence: number(said, "/ledger_sequence"),
            signature: signature(said, "/signature"),
        };
        (own, advert.verify(&open, &Anything).unwrap())
    });
    let context2 = keys_context(&open.terms.context(), &adverts.collect());
    assert_eq!(*context2.digest(), digest(&keys, "/ctx2"));
}

#[test]
fn each_record_of_the_reference_convicts_its_culprit_and_is_written_as_the_reference_writes_it() {
    let (keys, open) = (read(KEYS), announced(&read(CONTEXT)));
    let heads = list(&keys, "/adverts").iter().map(|said| {
        let key = |name| PublicKey::from_bytes(array(said, name)).unwrap();
        let head = AdvertHead {
            member: member(said, "/member"),
            mask_key: key("/mask_key"),
            share_key: key("/share_key"),
            evidence: Digest::of(&bytes(said, "/evidence")),
            ledger_sequence: number(said, "/ledger_sequence"),
            signature: signature(said, "/signature"),
        };
        (head.member, head)
    });
    let proceedings = Proceedings::new(&open.terms, heads.collect());
    let blame = read(BLAME);
    let records = list(&blame, "/records");
    assert_eq!(records.len(), 4);
    for record in records {
        let encoded = bytes(record, "/record");
        let read = Blame::decode(&encoded).unwrap();
        assert_eq!(read.verify(&proceedings), Ok(member(record, "/culprit")));
        assert_eq!(read.encode(), encoded);
    }
}
