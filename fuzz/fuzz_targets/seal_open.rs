//! Records of any bytes, raw and around an authentic envelope: refused or rendered, never a panic, never more memory than
//! the record calls for.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tradelane_keys::{AeadKey, SecretBytes, sha256};
use tradelane_model::pattern::Pattern;
use tradelane_model::shape::{FieldRule, Shape};
use tradelane_model::{Action, Class, ViewSpec};
use tradelane_seal::*;

struct Keys {
    log: Arc<AeadKey>,
    data: Arc<DataKey>,
}

impl OpeningKeys for Keys {
    fn log_key(&self, _: u64) -> Option<Arc<AeadKey>> {
        Some(Arc::clone(&self.log))
    }

    fn data_key(&self, id: u64) -> DataKeyState {
        match id % 4 {
            0 => DataKeyState::Destroyed,
            1 => DataKeyState::Missing,
            _ => DataKeyState::Live(Arc::clone(&self.data)),
        }
    }
}

struct World {
    keys: Keys,
    product: ProductContext,
    views: Vec<View>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut shape = Shape::default();
    for (at, class) in [("/a", "internal"), ("/b", "pii"), ("/c/*", "confidential"), ("/d/{}", "pii")] {
        let at = Pattern::parse(at).expect("a pattern");
        shape.add_rule(&FieldRule { at, class: Class::named(class), subject: None });
    }
    let rules = Arc::new(Rules::compile(&shape, 1).expect("compiles"));
    let actions =
        [Action::Reveal, Action::Redact, Action::Pseudonym, Action::Token, Action::Partial { first: 1, last: 1 }];
    let views = actions.map(|action| {
        let classes = ["confidential", "pii"].map(|name| (Class::named(name).expect("a class"), action.clone()));
        let spec = ViewSpec { classes: classes.into(), ..ViewSpec::default() };
        let keys = ViewKeys::derive(&SecretBytes::new([1; 32]), "c", "p", 1, "g");
        View::compile(&rules, &rules, &spec, keys).expect("compiles")
    });
    let secret = SecretBytes::new([2; 32]);
    World {
        keys: Keys { log: Arc::new(AeadKey::new(&secret)), data: Arc::new(DataKey::new(2, secret)) },
        product: ProductContext::new("acme", "shipments"),
        views: views.into(),
    }
});

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    show(world, data);
    let Some((split, rest)) = data.split_first_chunk::<2>() else { return };
    let (body, sections) = rest.split_at(usize::from(u16::from_le_bytes(*split)).min(rest.len()));
    show(world, &envelope(&world.keys.log, body, sections));
});

fn show(world: &World, record: &[u8]) {
    let Ok(event) = OpenedEvent::open(record, &world.product, &world.keys) else { return };
    let mut scratch = Scratch::default();
    for view in &world.views {
        let mut out = Vec::new();
        if view.render(&event, &world.keys, &mut scratch, &mut out).is_err() {
            assert!(out.is_empty());
        }
    }
    let _ = event.verify_sections(&world.keys);
}

/// What `docs/formats/sealed-event.md` says, around any body.
fn envelope(key: &AeadKey, body: &[u8], sections: &[u8]) -> Vec<u8> {
    let mut header = b"TS\x01\x01".to_vec();
    header.extend_from_slice(&1_u32.to_le_bytes());
    header.extend_from_slice(&[0; 8 + 8 + 12]);
    header.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let product = sha256(b"tradelane/sealed-event/v1\0acme\0shipments");
    let aad = [header.as_slice(), &[0xFF; 4], &product].concat();
    let mut sealed = body.to_vec();
    key.seal_in_place(&[0; 12], &aad, &mut sealed);
    [header.as_slice(), &sealed, sections].concat()
}
