//! A certificate authority for development: so that the first start speaks TLS without anyone's help.
//!
//! The authority can sign only for the names it was made for (critical name constraints), so that a developer who trusts it
//! does not trust its key's finder with the rest of the web. Production uses certificates of one's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber, date_time_ymd,
};

const DAY: i64 = 86_400;
const CA_DAYS: i64 = 3_650;
/// What browsers accept at most.
const SERVER_DAYS: i64 = 397;
/// Certificates begin a little in the past, for clients whose clock is behind.
const BACKDATE: i64 = 3_600;

/// A certificate could not be made, or a stored authority could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Neither a DNS name nor an address.
    #[error("`{0}` is neither a DNS name nor an IP address; correct the configured names")]
    BadName(String),
    /// The stored key is not a PEM private key.
    #[error("the development authority's private key cannot be read; delete its two files to make a new one")]
    BadKey,
    /// The certificate library refused.
    #[error("the certificate cannot be made: {0}")]
    Failed(String),
}

/// An authority for development.
pub struct DevelopmentCa {
    certificate_pem: String,
    key: KeyPair,
}

/// A server's certificate chain (leaf, then authority) and its private key, both PEM.
pub struct ServerIdentity {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS#8; a secret.
    pub key_pem: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerIdentity(..)")
    }
}

impl std::fmt::Debug for DevelopmentCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevelopmentCa(..)")
    }
}

impl DevelopmentCa {
    /// A fresh authority, valid 10 years from `now` (seconds since the Unix epoch), for `localhost`, the loopback addresses
    /// and `names` only.
    pub fn generate(names: &[&str], now: i64) -> Result<Self, CertificateError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = authority_params();
        set_validity(&mut params, now, CA_DAYS);
        params.serial_number = Some(serial());
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted(names)?, excluded_subtrees: Vec::new() });
        let certificate_pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { certificate_pem, key })
    }

    /// An authority from the two PEM texts that [`certificate_pem`](Self::certificate_pem) and [`key_pem`](Self::key_pem) gave.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| CertificateError::BadKey)?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key })
    }

    /// What clients are given to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key; a secret, for a 0600 file.
    pub fn key_pem(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(self.key.serialize_pem())
    }

    /// A server certificate for `localhost`, the loopback addresses and `names`, valid 397 days from `now`.
    pub fn issue_server(&self, names: &[&str], now: i64) -> Result<ServerIdentity, CertificateError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Tradelane hub");
        set_validity(&mut params, now, SERVER_DAYS);
        params.serial_number = Some(serial());
        params.subject_alt_names = all_names(names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(authority_params(), &self.key);
        let leaf = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok(ServerIdentity {
            chain_pem: format!("{}{}", leaf.pem(), self.certificate_pem),
            key_pem: zeroize::Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// The part of the authority's parameters that its leaves repeat, and that a stored authority needs again.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Tradelane development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn all_names(names: &[&str]) -> Result<Vec<SanType>, CertificateError> {
    let loopback =
        [SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)), SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST))];
    let named = std::iter::once("localhost").chain(names.iter().copied()).map(|name| match name.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(dns_name(name)?.try_into().map_err(failed)?)),
    });
    let named: Vec<SanType> = named.collect::<Result<_, CertificateError>>()?;
    let mut all = Vec::new();
    for name in named.into_iter().chain(loopback) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

fn permitted(names: &[&str]) -> Result<Vec<GeneralSubtree>, CertificateError> {
    let subtree = |name: SanType| match name {
        SanType::IpAddress(IpAddr::V4(v4)) => {
            Some(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(v4.octets(), 32)))
        }
        // The library computes IPv6 prefixes from a 128-bit mask; the full one is written out.
        SanType::IpAddress(IpAddr::V6(v6)) => Some(GeneralSubtree::IpAddress(CidrSubnet::V6(v6.octets(), [0xFF; 16]))),
        SanType::DnsName(name) => Some(GeneralSubtree::DnsName(name.as_str().to_owned())),
        _ => None,
    };
    Ok(all_names(names)?.into_iter().filter_map(subtree).collect())
}

/// A host name by the letter-digit-hyphen rule, without a wildcard: those would widen the constraint for no need.
fn dns_name(name: &str) -> Result<String, CertificateError> {
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(CertificateError::BadName(name.to_owned()));
    }
    Ok(name.to_owned())
}

fn set_validity(params: &mut CertificateParams, now: i64, days: i64) {
    let epoch = date_time_ymd(1970, 1, 1);
    let at = |seconds: i64| epoch + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    params.not_before = at(now - BACKDATE);
    params.not_after = at(now - BACKDATE + days * DAY);
}

fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = crate::random::random_array();
    // Positive, and never shortened by a leading zero (RFC 5280, 4.1.2.2).
    bytes[0] = (bytes[0] & 0x7F) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn failed(error: rcgen::Error) -> CertificateError {
    CertificateError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn a_stored_authority_goes_on_issuing() {
        let ca = DevelopmentCa::generate(&["hub.test", "10.0.0.7"], NOW).unwrap();
        let again = DevelopmentCa::from_pem(ca.certificate_pem(), &ca.key_pem()).unwrap();
        let identity = again.issue_server(&["hub.test", "10.0.0.7"], NOW).unwrap();
        assert_eq!(identity.chain_pem.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(identity.chain_pem.ends_with(ca.certificate_pem()));
        assert!(identity.key_pem.contains("PRIVATE KEY"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for bad in ["", "*.test", "a b", "-x", "x..y", "https://hub"] {
            assert!(matches!(DevelopmentCa::generate(&[bad], NOW), Err(CertificateError::BadName(_))), "{bad}");
        }
        assert_eq!(DevelopmentCa::from_pem("", "nonsense").err(), Some(CertificateError::BadKey));
    }
}
