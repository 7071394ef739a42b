//! Proofs as files, the growing log, and the heads that witnesses co-sign.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod story;

use std::fs;
use std::path::Path;

use consort_audit::{
    AnnouncedHeads, AuditLog, CHECKPOINT_FILE, Checkpoint, Cosignature, ENTRIES_FILE, Hash,
    KEPT_HEADS, NotCosigned, ProofFile, SignedNote, Tail, WITNESSED_FOLDER, WitnessKey, Witnesses,
    head_hash, prove_consistency, prove_inclusion, verify_against, verify_witnessed, witness_name,
};
use ed25519_dalek::{Signer, SigningKey};
use story::{restarted, signer, whole_story, write};

/// A log in a folder, and the checkpoint after each entry.
fn written() -> (tempfile::TempDir, Vec<SignedNote>) {
    let folder = tempfile::tempdir().unwrap();
    let mut log = AuditLog::open(folder.path(), signer(1)).unwrap();
    let mut heads = vec![log.checkpoint().clone()];
    for record in whole_story() {
        log.append(&record).unwrap();
        heads.push(log.checkpoint().clone());
    }
    (folder, heads)
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
        }
    }
    to
}

fn verified(file: &str) -> Result<(), &'static str> {
    let key = signer(1);
    let proof: ProofFile = file
        .parse()
        .map_err(|error: consort_audit::ProofFileError| error.code())?;
    assert_eq!(proof.to_string(), file);
    let outcome = match proof {
        ProofFile::Inclusion(proof) => proof.verify(key.verifier()).map(drop),
        ProofFile::Consistency(proof) => proof.verify(key.verifier()).map(drop),
    };
    outcome.map_err(|error| error.code())
}

#[test]
fn each_entry_is_proven_by_a_file_that_needs_the_key_alone() {
    let (folder, heads) = written();
    for (index, record) in (0..).zip(whole_story()) {
        let proof = prove_inclusion(folder.path(), None, index, None).unwrap();
        assert_eq!(proof.verify(signer(1).verifier()).unwrap().1, record);
        assert_eq!(verified(&proof.to_string()), Ok(()));
        // Under any later checkpoint that somebody kept, too, and under no earlier one.
        for (size, head) in heads.iter().enumerate() {
            let proof = prove_inclusion(folder.path(), None, index, Some(head.clone()));
            assert_eq!(
                proof.is_ok(),
                index < size as u64,
                "entry {index} of {size}"
            );
        }
    }
    let beyond = whole_story().len() as u64;
    let refused = prove_inclusion(folder.path(), None, beyond, None).unwrap_err();
    assert_eq!(refused.code(), "audit_no_entry");
}

#[test]
fn each_checkpoint_is_proven_to_be_extended_by_each_later_one() {
    let (folder, heads) = written();
    for (old, since) in heads.iter().enumerate().step_by(3) {
        for (new, head) in heads.iter().enumerate().step_by(4) {
            let proof = prove_consistency(folder.path(), None, since.clone(), Some(head.clone()));
            match proof {
                Ok(proof) => assert_eq!(verified(&proof.to_string()), Ok(())),
                Err(error) => assert_eq!((new < old, error.code()), (true, "audit_forked")),
            }
        }
    }
}

#[test]
fn a_proof_with_a_bit_changed_or_an_end_cut_off_is_refused() {
    let (folder, heads) = written();
    let inclusion = prove_inclusion(folder.path(), None, 4, None).unwrap();
    let consistency = prove_consistency(folder.path(), None, heads[5].clone(), None).unwrap();
    for file in [inclusion.to_string(), consistency.to_string()] {
        for position in 0..file.len() {
            for bit in [0, 2, 5] {
                let mut bytes = file.as_bytes().to_vec();
                bytes[position] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                assert!(verified(&changed).is_err(), "byte {position}, bit {bit}");
            }
        }
        for length in 0..file.len() {
            if let Some(cut) = file.get(..length) {
                assert!(verified(cut).is_err(), "{length} bytes");
            }
        }
    }
}

#[test]
fn two_signed_logs_of_one_length_convict_and_a_longer_rewritten_one_is_not_proven() {
    let (folder, heads) = written();
    let other = tempfile::tempdir().unwrap();
    let mut records = whole_story();
    records[3] = restarted(3);
    let forked = write(other.path(), &records);
    let honest = prove_consistency(folder.path(), None, heads[5].clone(), None).unwrap();
    let two = consort_audit::ConsistencyProof {
        new: forked.checkpoint().clone(),
        old: heads.last().unwrap().clone(),
        ..honest.clone()
    };
    assert_eq!(verified(&two.to_string()), Err("audit_contradiction"));
    let longer = consort_audit::ConsistencyProof {
        new: forked.checkpoint().clone(),
        ..honest
    };
    assert_eq!(verified(&longer.to_string()), Err("proof_root"));
    // The log itself does not lie: it has no proof for a head that it does not extend, and an auditor who has the head sees it.
    let refused = prove_consistency(other.path(), None, heads[5].clone(), None).unwrap_err();
    assert_eq!(refused.code(), "audit_forked");
    let refused = verify_against(other.path(), None, &heads[5..6]).unwrap_err();
    assert_eq!(refused.code(), "audit_forked");
}

#[test]
fn the_tail_of_a_growing_log_gives_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = AuditLog::open(folder.path(), signer(1)).unwrap();
    let mut tail = Tail::open(folder.path(), Some(signer(1).verifier())).unwrap();
    assert_eq!(tail.news().unwrap(), []);
    for (index, record) in (0..).zip(whole_story()) {
        log.append(&record).unwrap();
        assert_eq!(tail.news().unwrap(), [(index, record)]);
        assert_eq!(tail.news().unwrap(), []);
    }
    assert!(Tail::open(folder.path(), Some(signer(2).verifier())).is_err());
}

#[test]
fn the_tail_notices_a_log_that_was_cut_or_rewritten_while_it_was_followed() {
    let (folder, heads) = written();
    let (size, newest) = (whole_story().len(), heads.last().unwrap());
    let put = |folder: &Path, note: &SignedNote| {
        fs::write(folder.join(CHECKPOINT_FILE), note.to_string()).unwrap();
    };
    // Cut: an older checkpoint stands there again.
    let cut = copy(folder.path());
    let mut tail = Tail::open(cut.path(), None).unwrap();
    assert_eq!(tail.news().unwrap().len(), size);
    put(cut.path(), &heads[size - 2]);
    assert_eq!(tail.news().unwrap_err().code(), "audit_forked");
    // Rewritten: as long as before and longer, signed by the same key.
    for more in [0, 2] {
        let followed = copy(folder.path());
        let mut tail = Tail::open(followed.path(), None).unwrap();
        put(followed.path(), newest);
        assert_eq!(tail.news().unwrap().len(), size);
        let other = tempfile::tempdir().unwrap();
        let mut records = whole_story();
        records[3] = restarted(3);
        records.extend((0..more).map(restarted));
        let forked = write(other.path(), &records);
        let entries = fs::read(other.path().join(ENTRIES_FILE)).unwrap();
        fs::write(followed.path().join(ENTRIES_FILE), entries).unwrap();
        put(followed.path(), forked.checkpoint());
        let refused = tail.news().unwrap_err().code();
        assert_eq!(refused, "audit_forked", "{more} more");
    }
}

fn witness(seed: u8) -> (SigningKey, WitnessKey) {
    let secret = SigningKey::from_bytes(&[seed; 32]);
    let name = witness_name("consort.example", &format!("clinic-{seed}"));
    let key = WitnessKey::new(&name, &secret.verifying_key().to_bytes()).unwrap();
    (secret, key)
}

fn cosignature(seed: u8, note: &SignedNote) -> Cosignature {
    let log = signer(1);
    let text = note.verified(log.verifier()).unwrap();
    Cosignature::new(text, 1_700_000_000, |bytes| {
        witness(seed).0.sign(bytes).to_bytes()
    })
}

#[test]
fn an_announced_head_keeps_its_cosignatures_over_a_restart_and_takes_none_that_does_not_hold() {
    let (folder, notes) = written();
    let mut heads = AnnouncedHeads::open(folder.path(), signer(1).verifier()).unwrap();
    let head = heads.announce(5, &notes[5]).unwrap();
    assert_eq!(head, head_hash(&notes[5]));
    let kept = |heads: &mut AnnouncedHeads, head: &Hash, by: u8, signed: &Cosignature| {
        heads.cosign(head, &witness(by).1, signed).unwrap()
    };
    let (own, others) = (cosignature(1, &notes[5]), cosignature(2, &notes[5]));
    assert_eq!(kept(&mut heads, &head, 1, &own), Ok(true));
    assert_eq!(kept(&mut heads, &head, 1, &own), Ok(false));
    assert_eq!(
        kept(&mut heads, &head, 1, &others),
        Err(NotCosigned::Signature)
    );
    let of_another_head = cosignature(2, &notes[6]);
    assert_eq!(
        kept(&mut heads, &head, 2, &of_another_head),
        Err(NotCosigned::Signature)
    );
    let unknown = head_hash(&notes[6]);
    assert_eq!(
        kept(&mut heads, &unknown, 2, &of_another_head),
        Err(NotCosigned::UnknownHead)
    );
    drop(heads);
    // What a crash in the middle of a replacement leaves is no head.
    fs::write(
        folder
            .path()
            .join(WITNESSED_FOLDER)
            .join("00000000000000000005.new"),
        "half",
    )
    .unwrap();
    let mut heads = AnnouncedHeads::open(folder.path(), signer(1).verifier()).unwrap();
    let (size, note) = heads.find(&head).unwrap();
    assert_eq!(
        (size, note.cosigned_by(&witness(1).1)),
        (5, Ok(Some(1_700_000_000)))
    );
    assert_eq!(heads.announce(5, &notes[5]).unwrap(), head);
    assert_eq!(kept(&mut heads, &head, 2, &others), Ok(true));
}

#[test]
fn only_the_newest_heads_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = AuditLog::open(folder.path(), signer(1)).unwrap();
    let mut heads = AnnouncedHeads::open(folder.path(), signer(1).verifier()).unwrap();
    let mut all = Vec::new();
    for size in 1..=40 {
        log.append(&restarted(size)).unwrap();
        all.push(heads.announce(size, log.checkpoint()).unwrap());
    }
    let kept =
        |heads: &AnnouncedHeads| all.iter().filter(|head| heads.find(head).is_some()).count();
    assert_eq!(kept(&heads), KEPT_HEADS);
    assert!(heads.find(&all[39]).is_some());
    let heads = AnnouncedHeads::open(folder.path(), signer(1).verifier()).unwrap();
    assert_eq!(kept(&heads), KEPT_HEADS);
}

#[test]
fn a_log_is_verified_with_as_many_witnesses_as_are_demanded_and_not_with_fewer() {
    let (folder, notes) = written();
    let mut heads = AnnouncedHeads::open(folder.path(), signer(1).verifier()).unwrap();
    for (at, by) in [(4, vec![1, 2, 3]), (7, vec![1, 2]), (9, vec![4])] {
        let head = heads
            .announce(at, &notes[usize::try_from(at).unwrap()])
            .unwrap();
        let note = heads.find(&head).unwrap().1.clone();
        for seed in by {
            let signed = cosignature(seed, &note);
            assert_eq!(
                heads.cosign(&head, &witness(seed).1, &signed).unwrap(),
                Ok(true)
            );
        }
    }
    let verify = |at_least| {
        // Clinic 4 is no member of this roster: its co-signature counts for nothing.
        let keys = (1..=3).map(|seed| witness(seed).1).collect();
        let witnesses = Witnesses { keys, at_least };
        verify_witnessed(folder.path(), None, &[], Some(&witnesses))
    };
    for (at_least, size) in [(1, 7), (2, 7), (3, 4)] {
        let report = verify(at_least).unwrap().to_string();
        let expected = format!("co-signed the checkpoint over the first {size} entries");
        assert!(report.contains(&expected), "{report}");
        let later = whole_story().len() - size;
        assert!(
            report.contains(&format!("{later} entries are newer")),
            "{report}"
        );
    }
    let refused = verify(4).unwrap_err();
    assert_eq!(refused.code(), "audit_unwitnessed");
    assert!(
        refused.to_string().contains("the most that one has is 3"),
        "{refused}"
    );
}

#[test]
fn a_log_that_was_rewritten_does_not_verify_beside_the_heads_that_were_witnessed() {
    let (folder, notes) = written();
    AnnouncedHeads::open(folder.path(), signer(1).verifier())
        .unwrap()
        .announce(7, &notes[7])
        .unwrap();
    verify_witnessed(folder.path(), None, &[], None).unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut records = whole_story();
    records[1] = restarted(1);
    drop(write(other.path(), &records));
    for file in [ENTRIES_FILE, CHECKPOINT_FILE] {
        fs::copy(other.path().join(file), folder.path().join(file)).unwrap();
    }
    let refused = verify_witnessed(folder.path(), None, &[], None).unwrap_err();
    let head = Checkpoint::verified(&notes[7], signer(1).verifier()).unwrap();
    assert_eq!((refused.code(), head.size), ("audit_forked", 7));
}

#[test]
fn a_log_that_is_shorter_than_an_announced_head_is_told_from_a_rewritten_one_and_not_gone_on_with()
{
    let (folder, notes) = written();
    let key = signer(1);
    let heads = || AnnouncedHeads::open(folder.path(), key.verifier()).unwrap();
    let newest = notes.len() - 1;
    let size = u64::try_from(newest).unwrap();
    heads().announce(size, &notes[newest]).unwrap();
    let log = AuditLog::open(folder.path(), signer(1)).unwrap();
    heads().check(&log).unwrap();
    drop(log);

    // An older copy of entries and checkpoint is put back, and the heads stay.
    let older = tempfile::tempdir().unwrap();
    drop(write(older.path(), &whole_story()[..5]));
    for file in [ENTRIES_FILE, CHECKPOINT_FILE] {
        fs::copy(older.path().join(file), folder.path().join(file)).unwrap();
    }
    let refused = verify_witnessed(folder.path(), None, &[], None).unwrap_err();
    assert_eq!(refused.code(), "audit_head_beyond");
    let log = AuditLog::open(folder.path(), signer(1)).unwrap();
    let refused = heads().check(&log).unwrap_err();
    assert_eq!(refused.code(), "audit_head_of_another_log");
}
