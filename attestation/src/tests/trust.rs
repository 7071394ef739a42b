//! Roots and revocation lists that are not taken.

use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::ext::Extension;

use super::world::{STATEMENT, attester, judge, policy_text, start, vendor};
use crate::simulated::SimulatedVendor;
use crate::simulated::bad::ASK_SERIAL;
use crate::{AMD_ROOT_HASHES, Policy, Product, Reason, TrustError, TrustStore, Verifier};

fn add(pem: &str) -> Result<(), TrustError> {
    TrustStore::new().add_pem_bundle(pem.as_bytes())
}

fn add_crl(crl: &[u8]) -> Result<(), TrustError> {
    vendor().trust_store().unwrap().add_crl(crl)
}

#[test]
fn a_signing_key_that_does_not_say_it_is_an_authority_is_refused() {
    // The bundle holds the ASK, then the ARK.
    for index in [0, 1] {
        let without = |at: usize| {
            let edit = |tbs: &mut x509_cert::TbsCertificate| {
                tbs.extensions.as_mut().unwrap().remove(at);
            };
            vendor().edited_roots_pem(index, edit).unwrap()
        };
        assert_eq!(
            add(&without(0)),
            Err(TrustError::NotAnAuthority),
            "no constraints"
        );
        assert_eq!(
            add(&without(1)),
            Err(TrustError::NotAnAuthority),
            "no key usage"
        );
    }
    assert_eq!(add(&vendor().edited_roots_pem(0, |_| ()).unwrap()), Ok(()));
}

#[test]
fn a_bundle_may_hold_the_ask_the_asvk_or_both_but_neither_twice() {
    let ask = vendor().roots_pem().unwrap();
    let asvk = vendor().provider(start()).unwrap().roots_pem;
    let asvk_alone = asvk
        .split_inclusive("-----END CERTIFICATE-----\n")
        .next()
        .unwrap();
    assert_eq!(add(&asvk), Ok(()));
    assert_eq!(add(&format!("{asvk_alone}{ask}")), Ok(()));
    let twice = format!("{asvk_alone}{asvk_alone}{ask}");
    assert_eq!(add(&twice), Err(TrustError::NotOneAsk));
    let unknown = ask.replacen("CERTIFICATE", "PRIVATE KEY", 2);
    assert_eq!(add(&unknown), Err(TrustError::NotPem));
}

#[test]
fn a_revocation_list_of_another_root_or_that_was_edited_is_refused() {
    let good = vendor()
        .edited_revocation_list(&[9], start(), |_| ())
        .unwrap();
    assert_eq!(add_crl(&good), Ok(()));
    let other = SimulatedVendor::create(Product::Genoa, start()).unwrap();
    let of_same_name = other.edited_revocation_list(&[], start(), |_| ()).unwrap();
    assert_eq!(add_crl(&of_same_name), Err(TrustError::CrlNotSigned));
    let other = SimulatedVendor::create(Product::Turin, start()).unwrap();
    let of_other_name = other.edited_revocation_list(&[], start(), |_| ()).unwrap();
    assert_eq!(add_crl(&of_other_name), Err(TrustError::CrlUnknownIssuer));
    let roots = vendor().roots_pem().unwrap();
    let list = x509_cert::der::pem::encode_string(
        "X509 CRL",
        x509_cert::der::pem::LineEnding::LF,
        &of_other_name,
    );
    let bundle = format!("{roots}{}", list.unwrap());
    assert_eq!(add(&bundle), Err(TrustError::CrlUnknownIssuer));
    for bit in (0..good.len() * 8).step_by(5) {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            add_crl(&flipped).is_err(),
            "bit {bit} was flipped and nobody minded"
        );
    }
}

#[test]
fn a_revocation_list_of_a_root_that_may_not_sign_lists_is_refused() {
    let list = vendor()
        .edited_revocation_list(&[], start(), |_| ())
        .unwrap();
    // A key usage of keyCertSign, and of keyCertSign and cRLSign (RFC 5280, section 4.2.1.3): a bit string each.
    for (usage, taken) in [
        ([3, 2, 2, 0x04], Err(TrustError::CrlNotSigned)),
        ([3, 2, 1, 0x06], Ok(())),
    ] {
        let edit = |tbs: &mut x509_cert::TbsCertificate| {
            let extension = &mut tbs.extensions.as_mut().unwrap()[1];
            extension.extn_value = OctetString::new(usage).unwrap();
        };
        let mut store = TrustStore::new();
        let bundle = vendor().edited_roots_pem(1, edit).unwrap();
        store.add_pem_bundle(bundle.as_bytes()).unwrap();
        assert_eq!(store.add_crl(&list), taken);
    }
}

#[test]
fn a_revocation_list_that_is_partial_or_names_no_successor_is_refused() {
    // An issuing distribution point: the list is about some certificates only.
    let partial = |critical| {
        vendor().edited_revocation_list(&[], start(), |list| {
            list.crl_extensions = Some(vec![Extension {
                extn_id: ObjectIdentifier::new_unwrap("2.5.29.28"),
                critical,
                extn_value: OctetString::new(vec![0x30, 0]).unwrap(),
            }]);
        })
    };
    let endless = vendor().edited_revocation_list(&[], start(), |list| list.next_update = None);
    let indirect = vendor().edited_revocation_list(&[9], start(), |list| {
        list.revoked_certificates.as_mut().unwrap()[0].crl_entry_extensions =
            Some(vec![Extension {
                extn_id: ObjectIdentifier::new_unwrap("2.5.29.29"),
                critical: true,
                extn_value: OctetString::new(vec![0x30, 0]).unwrap(),
            }]);
    });
    assert_eq!(
        add_crl(&partial(true).unwrap()),
        Err(TrustError::CrlMalformed)
    );
    assert_eq!(add_crl(&partial(false).unwrap()), Ok(()));
    assert_eq!(add_crl(&endless.unwrap()), Err(TrustError::CrlMalformed));
    assert_eq!(add_crl(&indirect.unwrap()), Err(TrustError::CrlMalformed));
    let good = vendor()
        .edited_revocation_list(&[], start(), |_| ())
        .unwrap();
    for garbage in [Vec::new(), vec![0x30, 0], [good, vec![0]].concat()] {
        assert_eq!(add_crl(&garbage), Err(TrustError::CrlMalformed));
    }
}

/// As nodes are given it: in a file of roots, whichever of its root's bundles that is.
#[test]
fn a_revocation_list_in_one_bundle_is_obeyed_for_every_bundle_of_its_root_in_either_order() {
    use x509_cert::der::pem::{LineEnding, encode_string};

    let in_bundle = |vendor: &SimulatedVendor, revoked: &[u32]| {
        let crl = vendor.edited_revocation_list(revoked, start(), |_| ());
        encode_string("X509 CRL", LineEnding::LF, &crl.unwrap()).unwrap()
    };
    let (without, pem) = (
        vendor().roots_pem().unwrap(),
        in_bundle(vendor(), &[ASK_SERIAL]),
    );
    let with = without.clone() + &pem;
    for bundles in [vec![&with], vec![&without, &with], vec![&with, &without]] {
        let mut store = TrustStore::new();
        for bundle in bundles {
            store.add_pem_bundle(bundle.as_bytes()).unwrap();
        }
        let policy = Policy::from_toml(&policy_text("")).unwrap();
        let verifier = Verifier::new(policy, &store).unwrap();
        let evidence = crate::Attester::attest(attester(), STATEMENT).unwrap();
        assert_eq!(
            judge(&verifier, &evidence).unwrap_err(),
            Reason::CertificateRevoked
        );
    }
    assert_eq!(add_crl(pem.as_bytes()), Ok(()));
    let foreign = SimulatedVendor::create(Product::Genoa, start()).unwrap();
    let bundle = without + &in_bundle(&foreign, &[]);
    assert_eq!(add(&bundle), Err(TrustError::CrlNotSigned));
}

#[test]
fn the_policy_without_a_file_pins_the_vendors_roots_and_refuses_what_it_can_judge() {
    let policy = Policy::vendors_roots_alone();
    assert_eq!(policy.roots().len(), AMD_ROOT_HASHES.len() + 1);
    assert!(policy.simulated_roots().is_empty());
    let switches = policy.snp.switches;
    assert!(
        !switches.allow_debug && !switches.allow_migration_agent && switches.require_alias_check
    );
    assert!(policy.snp.denied_products.contains(&Product::Milan));
    assert!(policy.snp.allow_vlek_csp_ids.is_empty());
}
