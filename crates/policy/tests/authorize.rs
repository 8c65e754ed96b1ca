//! Who may do what; and that a permit ends when it must.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tradelane_model::grant::{Conditions, GrantState};
use tradelane_model::{
    Class, Grant, GrantId, OrgId, Organization, Principal, PrincipalId, Product, Role, Timestamp, codes,
};
use tradelane_policy::{Action, Authorizer, Denial, Epochs, Permit, PolicyError, Refusal, Request, Resource, Scope};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn attributes(value: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(value).unwrap()
}

struct World {
    authorizer: Authorizer,
    maker: Organization,
    carrier: Organization,
    product: Product,
    principal: Principal,
    grant: Grant,
    region: Option<&'static str>,
    classes: Vec<Class>,
    reveals: Vec<Class>,
    purpose: Option<&'static str>,
    now: Timestamp,
}

impl World {
    /// A carrier's consumer under a live grant for a maker's product.
    fn new() -> Self {
        let org = |id: &str, region: &str| Organization {
            id: id.parse().unwrap(),
            name: id.into(),
            attributes: attributes(json!({"region": region})),
            suspended: false,
        };
        Self {
            authorizer: Authorizer::new(Arc::new(Epochs::new())),
            maker: org("maker", "eu"),
            carrier: org("carrier", "us"),
            product: serde_json::from_value(json!({"id": "maker.stock", "owner": "maker", "contract": "stock"}))
                .unwrap(),
            principal: principal("carrier-tms", "carrier", &[Role::Consumer]),
            grant: grant(),
            region: Some("eu"),
            classes: vec![Class::named("pii").unwrap()],
            reveals: vec![],
            purpose: None,
            now: NOW,
        }
    }

    fn ask(&self, action: Action) -> Result<Permit, Denial> {
        let resource = Resource::Product {
            product: &self.product,
            owner: &self.maker,
            region: self.region,
            classes: &self.classes,
        };
        self.ask_about(action, resource)
    }

    fn ask_about(&self, action: Action, resource: Resource<'_>) -> Result<Permit, Denial> {
        let org = if self.principal.organization == self.maker.id { &self.maker } else { &self.carrier };
        let snapshot = self.authorizer.snapshot(
            &self.principal.id,
            &org.id,
            Some(&self.maker.id),
            Some(&self.product.id),
            Some(&self.grant.id),
        );
        self.authorizer.authorize(Request {
            principal: &self.principal,
            org,
            action,
            resource,
            grant: Some(&self.grant),
            reveals: &self.reveals,
            purpose: self.purpose,
            region: Some("us"),
            ip: Some("192.0.2.7".parse().unwrap()),
            now: self.now,
            until: NOW.plus_seconds(3_600),
            snapshot,
        })
    }

    fn denied(&self, action: Action) -> Denial {
        self.ask(action).expect_err("must be denied")
    }

    fn policies(&self, org: &str, text: &str) {
        self.authorizer.set_policies(&org.parse().unwrap(), text).unwrap();
    }
}

fn principal(id: &str, org: &str, roles: &[Role]) -> Principal {
    Principal {
        id: id.parse().unwrap(),
        organization: org.parse().unwrap(),
        kind: Default::default(),
        roles: BTreeSet::from_iter(roles.iter().copied()),
        attributes: attributes(json!({"shift": "night"})),
        suspended: false,
    }
}

fn grant() -> Grant {
    Grant {
        id: "g-1".parse().unwrap(),
        product: "maker.stock".parse().unwrap(),
        consumer: "carrier".parse().unwrap(),
        purpose: "delivery".into(),
        conditions: Conditions::default(),
        status: GrantState::Active { by: "maker-owner".parse().unwrap(), at: NOW },
        pseudonym_epoch: 0,
        pin: None,
    }
}

#[test]
fn a_consumer_with_a_live_grant_may_read_and_nothing_else() {
    let world = World::new();
    let permit = world.ask(Action::Read).unwrap();
    assert_eq!((permit.org().as_str(), permit.owner().unwrap().as_str()), ("carrier", "maker"));
    assert_eq!((permit.grant().unwrap().as_str(), permit.purpose()), ("g-1", Some("delivery")));
    assert_eq!(permit.covers(Action::Read, &world.product.id, NOW), Ok(()));
    assert_eq!(permit.covers(Action::Publish, &world.product.id, NOW), Err(Refusal::Elsewhere));
    assert_eq!(permit.covers(Action::Read, &"other".parse().unwrap(), NOW), Err(Refusal::Elsewhere));
    for action in [Action::Publish, Action::ManageProduct, Action::DecideGrant, Action::ReadQuarantine] {
        assert_eq!(world.denied(action).policies, ["platform:other-organizations-product"]);
    }
}

#[test]
fn without_a_live_grant_of_its_own_for_that_purpose_nobody_else_reads() {
    let broken: [fn(&mut World); 7] = [
        |world| world.grant.consumer = "distributor".parse().unwrap(),
        |world| world.grant.product = "maker.sensors".parse().unwrap(),
        |world| world.grant.status = GrantState::Requested,
        |world| world.grant.conditions.expires = Some(NOW),
        |world| world.purpose = Some("marketing"),
        |world| {
            world.grant.status = GrantState::Revoked { by: "x".parse().unwrap(), at: NOW, reason: String::new() };
        },
        |world| world.now = NOW.plus_seconds(7_200),
    ];
    for (at, change) in broken.into_iter().enumerate() {
        let mut world = World::new();
        change(&mut world);
        let denial = world.denied(Action::Read);
        if at < 6 {
            assert_eq!((denial.code(), denial.policies), (codes::NO_GRANT, vec!["platform:no-grant".to_owned()]));
        }
    }
}

#[test]
fn what_no_policy_allows_is_denied_for_every_role_and_action() {
    // Without a role nothing is allowed at all.
    let mut world = World::new();
    world.principal.roles.clear();
    for action in Action::ALL {
        for resource in [Resource::Hub, Resource::Organization(&world.carrier)] {
            assert!(world.ask_about(*action, resource).is_err());
        }
        assert!(world.ask(*action).is_err());
    }
}

#[test]
fn no_role_reaches_into_another_organization() {
    let mut world = World::new();
    world.grant.status = GrantState::Requested;
    world.principal.roles = Role::ALL.into_iter().filter(|role| *role != Role::Operator).collect();
    for action in Action::ALL {
        assert!(world.ask_about(*action, Resource::Organization(&world.maker)).is_err(), "{action:?}");
        assert!(world.ask_about(*action, Resource::Hub).is_err(), "{action:?}");
        let open = matches!(action, Action::Discover | Action::RequestAccess);
        assert_eq!(world.ask(*action).is_ok(), open, "{action:?}");
    }
    // The operator runs the hub and sees no event.
    world.principal.roles = BTreeSet::from([Role::Operator]);
    for action in Action::ALL {
        assert!(
            world.ask(*action).is_err() && world.ask_about(*action, Resource::Organization(&world.carrier)).is_err()
        );
    }
    assert!(world.ask_about(Action::Operate, Resource::Hub).is_ok());
}

#[test]
fn each_role_does_its_own_work_at_home() {
    let mut world = World::new();
    for (role, action) in [
        (Role::DataOwner, Action::ManageProduct),
        (Role::DataOwner, Action::DecideGrant),
        (Role::DataOwner, Action::Read),
        (Role::Publisher, Action::Publish),
        (Role::Consumer, Action::Read),
        (Role::Support, Action::Explain),
    ] {
        world.principal = principal("p", "maker", &[role]);
        let permit = world.ask(action).unwrap();
        assert_eq!(permit.grant(), None, "an owner needs no grant");
    }
    for (role, action) in [
        (Role::Admin, Action::ManagePrincipals),
        (Role::Auditor, Action::ReadAudit),
        (Role::Privacy, Action::EraseSubject),
        (Role::DataOwner, Action::CreateProduct),
    ] {
        world.principal = principal("p", "maker", &[role]);
        assert!(world.ask_about(action, Resource::Organization(&world.maker)).is_ok(), "{role:?}");
    }
    world.principal = principal("p", "maker", &[Role::Support]);
    assert!(world.ask(Action::Read).is_err());
}

#[test]
fn the_suspended_may_nothing() {
    let mut world = World::new();
    world.principal.suspended = true;
    assert_eq!(world.denied(Action::Read).sentence, "The principal or its organization is suspended.");
    let mut world = World::new();
    world.carrier.suspended = true;
    assert_eq!(world.denied(Action::Discover).policies, ["platform:suspended"]);
}

#[test]
fn an_owner_forbids_by_region_purpose_class_shift_and_hour() {
    for (policy, allowed) in [
        (
            r#"forbid (principal, action == Action::"read", resource) unless { principal.organization.hasTag("region") && resource has region && principal.organization.getTag("region").contains(resource.region) };"#,
            false,
        ),
        (
            r#"forbid (principal, action == Action::"read", resource) when { context has region && context.region == "us" };"#,
            false,
        ),
        (
            r#"forbid (principal, action == Action::"read", resource) when { context has purpose && context.purpose != "delivery" };"#,
            true,
        ),
        (r#"forbid (principal, action == Action::"read", resource) when { context.classes.contains("pii") };"#, false),
        (
            r#"forbid (principal, action == Action::"read", resource) when { principal.hasTag("shift") && principal.getTag("shift").contains("night") };"#,
            false,
        ),
        (
            r#"forbid (principal, action == Action::"read", resource) unless { context.hour >= 0 && context.hour < 24 && context.weekday >= 1 && context.weekday <= 7 };"#,
            true,
        ),
        (
            r#"forbid (principal, action == Action::"read", resource) unless { context has ip && context.ip.isInRange(ip("192.0.2.0/24")) };"#,
            true,
        ),
        (
            r#"forbid (principal, action == Action::"read", resource) when { context.now > datetime("2030-01-01") };"#,
            true,
        ),
        (
            r#"@id("only-ours") @reason("Not for carriers.") forbid (principal, action == Action::"read", resource == Product::"maker.stock") when { principal.organization == Organization::"carrier" };"#,
            false,
        ),
        (r#"forbid (principal, action, resource == Product::"maker.other");"#, true),
    ] {
        let mut world = World::new();
        world.reveals = vec![Class::named("pii").unwrap()];
        world.policies("maker", policy);
        let answer = world.ask(Action::Read);
        assert_eq!(answer.is_ok(), allowed, "{policy}");
        if let Err(denial) = answer {
            assert!(denial.policies[0].starts_with("maker:"), "{denial:?}");
            assert!(!denial.policies[0].contains("only-ours") || denial.sentence == "Not for carriers.");
        }
    }
}

#[test]
fn an_organization_cannot_permit_itself_what_another_owns() {
    let world = World { grant: Grant { status: GrantState::Requested, ..grant() }, ..World::new() };
    world.policies("carrier", "permit (principal, action, resource);");
    assert!(world.ask(Action::Read).is_err() && world.ask(Action::Publish).is_err());
    assert!(world.ask_about(Action::ReadAudit, Resource::Organization(&world.maker)).is_err());
    let world = World::new();
    // Its forbids count: it may be stricter with its own people than the owner is.
    world.policies("carrier", r#"@id("no-nights") forbid (principal, action == Action::"read", resource) when { principal.getTag("shift").contains("night") };"#.replace("when {", r#"when { principal.hasTag("shift") &&"#).as_str());
    assert_eq!(world.denied(Action::Read).policies, ["carrier:no-nights"]);
}

#[test]
fn an_owner_cannot_permit_away_what_the_platform_forbids() {
    let world = World { grant: Grant { status: GrantState::Requested, ..grant() }, ..World::new() };
    world.policies("maker", "permit (principal, action, resource);");
    assert_eq!(world.denied(Action::Read).policies, ["platform:no-grant"]);
    let mut world = World::new();
    world.policies(
        "maker",
        r#"permit (principal, action == Action::"read", resource) when { principal.organization == resource.owner };"#,
    );
    world.principal = principal("p", "maker", &[Role::Support]);
    assert!(world.ask(Action::Read).is_ok(), "but at home it allows what it likes");
}

#[test]
fn policies_that_are_not_right_are_refused_whole_with_their_place() {
    let world = World::new();
    let org: OrgId = "maker".parse().unwrap();
    world.policies("maker", r#"@id("none") forbid (principal, action == Action::"read", resource);"#);
    let fine = "permit (principal, action, resource);\n";
    let refused = |text: &str| world.authorizer.set_policies(&org, text).expect_err(text);
    let syntax = refused(&format!("{fine}permit (principal, action resource);"));
    assert!(matches!(syntax, PolicyError::Syntax { line: 2, column: 27, .. }), "{syntax:?}");
    let unknown = refused(&format!(
        "{fine}@id(\"typo\")\nforbid (principal, action, resource) when {{ principal.regoin == \"eu\" }};"
    ));
    assert!(matches!(&unknown, PolicyError::Invalid { line: 3, policy, .. } if policy == "typo"), "{unknown:?}");
    let mixed = refused("forbid (principal, action, resource) when { context.hour == \"ten\" };");
    assert!(matches!(mixed, PolicyError::Invalid { .. }), "{mixed:?}");
    assert!(matches!(refused("permit (principal == ?principal, action, resource);"), PolicyError::Unusable { .. }));
    assert!(matches!(refused(&format!("@id(\"a\") {fine}@id(\"a\") {fine}")), PolicyError::Unusable { .. }));
    assert!(matches!(refused(&fine.repeat(201)), PolicyError::TooLarge));
    assert!(matches!(refused(&" ".repeat(65 * 1024)), PolicyError::TooLarge));
    assert_eq!(world.denied(Action::Read).policies, ["maker:none"], "those in force stay");
    world.authorizer.remove_policies(&org);
    assert!(world.ask(Action::Read).is_ok());
}

#[test]
fn a_permit_ends_when_anything_it_rests_on_moves() {
    let world = World::new();
    let epochs = world.authorizer.epochs();
    let grant: GrantId = "g-1".parse().unwrap();
    for scope in [
        Scope::Global,
        Scope::Grant(grant),
        Scope::Product("maker.stock".parse().unwrap()),
        Scope::Org("maker".parse().unwrap()),
        Scope::Org("carrier".parse().unwrap()),
        Scope::Principal("carrier-tms".parse().unwrap()),
    ] {
        let permit = world.ask(Action::Read).unwrap();
        assert_eq!(permit.check(NOW), Ok(()));
        epochs.bump(&scope);
        assert_eq!(permit.check(NOW), Err(Refusal::Moved), "{scope:?}");
        assert_eq!(permit.covers(Action::Read, &world.product.id, NOW), Err(Refusal::Moved));
    }
    let permit = world.ask(Action::Read).unwrap();
    for scope in [
        Scope::Grant("g-2".parse().unwrap()),
        Scope::Org("distributor".parse().unwrap()),
        Scope::Principal(PrincipalId::try_from("other".to_owned()).unwrap()),
    ] {
        epochs.bump(&scope);
    }
    assert_eq!(permit.check(NOW), Ok(()), "others' changes do not end it");
    world.policies("maker", "permit (principal, action, resource);");
    assert_eq!(permit.check(NOW), Err(Refusal::Moved));
}

#[test]
fn a_change_between_snapshot_and_decision_is_not_lost() {
    let world = World::new();
    let snapshot = world.authorizer.epochs().snapshot([Some(Scope::Grant("g-1".parse().unwrap()))]);
    world.authorizer.epochs().bump(&Scope::Grant("g-1".parse().unwrap()));
    assert!(!snapshot.holds());
}

#[test]
fn a_permit_runs_out_with_the_grant_the_credentials_or_its_minute() {
    let mut world = World::new();
    let permit = world.ask(Action::Read).unwrap();
    assert_eq!(permit.expires(), NOW.plus_seconds(60));
    assert_eq!(permit.check(NOW.plus_seconds(59)), Ok(()));
    assert_eq!(permit.check(NOW.plus_seconds(60)), Err(Refusal::Expired));
    world.grant.conditions.expires = Some(NOW.plus_seconds(5));
    assert_eq!(world.ask(Action::Read).unwrap().check(NOW.plus_seconds(5)), Err(Refusal::Expired));
    world.now = NOW.plus_seconds(3_590);
    world.grant.conditions.expires = None;
    assert_eq!(world.ask(Action::Read).unwrap().expires(), NOW.plus_seconds(3_600));
}
