//! API keys and client secrets: issued once, kept as a hash, rotated with an overlap, revoked at once. Client certificates
//! are registered, not issued: the hub never sees their keys.

use tradelane_keys::{CredentialText, ScramHash, ScramVerifier};
use tradelane_model::journal::Change;
use tradelane_model::organization::{Credential, CredentialKind, ScramSecrets};
use tradelane_model::{CredentialId, Model, PrincipalId, Timestamp, codes};

use crate::Hub;
use crate::audit_trail::{CHANGE, LIST, hub_leaf};
use crate::authenticate::{API_KEY_PREFIX, CLIENT_SECRET_PREFIX, certificate_id, to_hex};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};

/// The longest life of a credential: a year and a day.
const MAX_LIFETIME: i64 = 366 * 86_400;
/// The longest time that a replaced credential goes on working.
const MAX_OVERLAP: i64 = 7 * 86_400;

/// A credential to issue.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// For whom.
    pub principal: PrincipalId,
    /// How it is presented.
    pub kind: CredentialKind,
    /// Seconds until it expires.
    pub lifetime_seconds: i64,
    /// The credential that it takes the place of.
    pub replaces: Option<CredentialId>,
    /// Seconds that the replaced one goes on working; 0 after a compromise.
    pub overlap_seconds: i64,
}

/// A credential that was issued; the text is shown this once.
#[derive(Debug)]
pub struct IssuedCredential {
    /// Its id; for a client secret, the `client_id`.
    pub id: CredentialId,
    /// What the holder presents.
    pub text: CredentialText,
    /// When it stops working.
    pub expires: Timestamp,
}

/// A client certificate to register.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// Whose it is.
    pub principal: PrincipalId,
    /// SHA-256 of the certificate (DER).
    pub digest: [u8; 32],
    /// Seconds until it is no longer accepted.
    pub lifetime_seconds: i64,
}

impl Hub {
    /// Registers a client certificate: whoever proves in a TLS handshake to hold its key is that principal (as in RFC 8705,
    /// 2.2). Who signed it does not matter. One certificate is one principal's on the whole hub.
    pub async fn register_certificate(&self, caller: &Caller, new: NewCertificate) -> Result<Audited<CredentialId>> {
        self.may_manage(caller, &new.principal)?;
        if !(60..=MAX_LIFETIME).contains(&new.lifetime_seconds) {
            return Err(HubError::new(codes::BAD_PARAMETER, "A certificate is registered for a minute to 366 days."));
        }
        let hash = to_hex(&new.digest);
        let internal = |error| HubError::of(codes::INTERNAL).because(error);
        let id: CredentialId = certificate_id(&hash).parse().map_err(internal)?;
        let leaf = hub_leaf(self.now(), caller, CHANGE);
        let decide = |model: &Model, at: Timestamp| {
            is_still_known(model, caller, at)?;
            if model.credentials.contains_key(&id) {
                let detail = "The certificate is or was registered. One that was revoked is never taken again.";
                return Err(HubError::new(codes::CONFLICT, detail));
            }
            let credential = Credential {
                id: id.clone(),
                principal: new.principal.clone(),
                kind: CredentialKind::Certificate,
                hash: hash.clone(),
                scram: None,
                issued: at,
                expires: at.plus_seconds(new.lifetime_seconds),
                revoked: None,
            };
            Ok((vec![Change::CredentialIssued(credential)], ()))
        };
        let ((), leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value: id, leaf })
    }

    /// Issues a credential, in place of another one if that is named.
    pub async fn issue_credential(&self, caller: &Caller, new: NewCredential) -> Result<Audited<IssuedCredential>> {
        self.may_manage(caller, &new.principal)?;
        if !(60..=MAX_LIFETIME).contains(&new.lifetime_seconds) || !(0..=MAX_OVERLAP).contains(&new.overlap_seconds) {
            let detail = "A credential lives a minute to 366 days; a replaced one goes on for at most 7 days.";
            return Err(HubError::new(codes::BAD_PARAMETER, detail));
        }
        let (credential, text) = self.make_credential(&new.principal, new.kind, new.lifetime_seconds)?;
        let leaf = hub_leaf(self.now(), caller, CHANGE);
        let decide = |model: &Model, at: Timestamp| {
            is_still_known(model, caller, at)?;
            let mut changes = vec![Change::CredentialIssued(credential.clone())];
            if let Some(old) = &new.replaces {
                changes.push(replaced(model, old, &new, at)?);
            }
            Ok((changes, ()))
        };
        let ((), leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        let issued = IssuedCredential { id: credential.id, text, expires: credential.expires };
        Ok(Audited { value: issued, leaf })
    }

    pub(crate) fn make_credential(
        &self,
        principal: &PrincipalId,
        kind: CredentialKind,
        lifetime: i64,
    ) -> Result<(Credential, CredentialText)> {
        let secret = tradelane_keys::Credential::generate();
        let prefix = match kind {
            CredentialKind::ApiKey => API_KEY_PREFIX,
            CredentialKind::ClientSecret => CLIENT_SECRET_PREFIX,
            CredentialKind::Certificate => {
                return Err(HubError::new(codes::BAD_PARAMETER, "A certificate is registered, not issued."));
            }
        };
        let text = secret.to_text(prefix);
        let scram = (kind == CredentialKind::ApiKey).then(|| {
            let verifier = |hash| ScramVerifier::derive(hash, text.expose()).to_text();
            ScramSecrets { sha256: verifier(ScramHash::Sha256), sha512: verifier(ScramHash::Sha512) }
        });
        let issued = self.now();
        let id = secret.id().parse().map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let hash = to_hex(secret.digest().as_bytes());
        let expires = issued.plus_seconds(lifetime);
        let credential =
            Credential { id, principal: principal.clone(), kind, hash, scram, issued, expires, revoked: None };
        Ok((credential, text))
    }

    /// Revokes a credential; what it opened stops with the next request.
    pub async fn revoke_credential(&self, caller: &Caller, id: &CredentialId) -> Result<Audited<()>> {
        let holder = self.model().credentials.get(id).map(|credential| credential.principal.clone());
        let holder = holder.ok_or_else(HubError::not_found)?;
        self.may_manage(caller, &holder)?;
        let leaf = hub_leaf(self.now(), caller, CHANGE);
        let decide = |_: &Model, _| Ok((vec![Change::CredentialRevoked(id.clone())], ()));
        let (value, leaf) = self.change(&caller.principal.id, leaf, decide).await?;
        Ok(Audited { value, leaf })
    }

    /// The credentials of the caller's organization, without their hashes.
    pub async fn credentials(&self, caller: &Caller) -> Result<Audited<Vec<Credential>>> {
        self.allow(caller, Act::ManagePrincipals, On::Own)?;
        let model = self.model();
        let own = |c: &Credential| {
            model.principals.get(&c.principal).is_some_and(|p| p.organization == caller.organization.id)
        };
        let mine = model.credentials.values().filter(|credential| own(credential));
        let list: Vec<Credential> =
            mine.map(|c| Credential { hash: String::new(), scram: None, ..(**c).clone() }).collect();
        let mut leaf = hub_leaf(self.now(), caller, LIST);
        leaf.count = list.len() as u64;
        self.audited(leaf, list).await
    }

    /// Everyone may manage its own credentials, administrators those of their organization, operators all. A token needs the
    /// scope for it in each case: a credential that it gave itself would be bound by none.
    fn may_manage(&self, caller: &Caller, principal: &PrincipalId) -> Result<()> {
        let organization = self.model().principals.get(principal).map(|p| p.organization.clone());
        let organization = organization.ok_or_else(HubError::not_found)?;
        if organization != caller.organization.id {
            self.allow(caller, Act::ManageHub, On::Hub).map_err(|_| HubError::not_found())?;
        } else if *principal != caller.principal.id {
            self.allow(caller, Act::ManagePrincipals, On::Own)?;
        } else if !caller.in_scope("manage", None) {
            let error =
                HubError::new(codes::FORBIDDEN, "The access token's scope does not cover this: it needs manage.");
            self.record_refusal(caller, &CHANGE, None, error.code);
            return Err(error);
        }
        Ok(())
    }
}

/// Whoever was revoked while its request was on its way issues nothing any more. It is asked in the very change, which stands
/// before the revocation or behind it.
fn is_still_known(model: &Model, caller: &Caller, at: Timestamp) -> Result<()> {
    let is_live = model.credentials.get(&caller.credential).is_some_and(|credential| credential.is_live(at));
    match is_live && model.active_principal(&caller.principal.id).is_some() {
        true => Ok(()),
        false => Err(HubError::of(codes::CREDENTIALS_EXPIRED)),
    }
}

/// A replaced credential ends with the overlap, or at once.
fn replaced(model: &Model, old: &CredentialId, new: &NewCredential, at: Timestamp) -> Result<Change> {
    let credential = model.credentials.get(old).ok_or_else(HubError::not_found)?;
    if credential.principal != new.principal || credential.kind != new.kind {
        return Err(HubError::new(codes::CONFLICT, "The replaced credential is of another principal or kind."));
    }
    Ok(match new.overlap_seconds {
        0 => Change::CredentialRevoked(old.clone()),
        seconds => Change::CredentialRetired { id: old.clone(), at: at.plus_seconds(seconds) },
    })
}
