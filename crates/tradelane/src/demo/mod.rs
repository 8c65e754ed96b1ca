//! `tradelane demo`: a hub, four organizations, real events, and each promise of the product shown and checked. Whatever
//! it shows went over TLS through the public API; what does not hold ends the demo with the step's name and exit code 1.

mod compare;
mod figures;
mod keep;
mod own;
mod proof;
mod stage;
mod story;
mod world;

use std::path::PathBuf;

use crate::failure::Result;
use crate::out::Out;
use stage::Stage;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run on your own EPCIS documents: a file, or a folder of .json and .jsonld files
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Leave the hub running and print its address, keys and curl lines
    #[arg(long)]
    keep: bool,
    /// Events published to measure with; 0 leaves the measuring out
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    load: usize,
}

pub(crate) fn run(args: Args, out: Out) -> Result<()> {
    let mut stage = Stage::open(out)?;
    let told = tell(&args, &mut stage);
    let kept = match told {
        Ok(()) => keep_or_end(&args, &mut stage),
        Err(failure) => Err(failure),
    };
    stage.close();
    kept
}

fn tell(args: &Args, stage: &mut Stage) -> Result<()> {
    world::organizations(stage)?;
    match &args.input {
        Some(path) => own::run(path, stage)?,
        None => {
            story::publish(stage)?;
            story::side_by_side(stage)?;
            story::row_filter(stage)?;
        }
    }
    let product = if args.input.is_some() { own::PRODUCT } else { story::PRODUCT };
    story::refusals(stage)?;
    story::revocation(stage, product)?;
    if args.input.is_none() {
        story::erasure(stage)?;
    }
    proof::run(stage, product)?;
    if args.load > 0 {
        figures::measure(stage, args.load)?;
    }
    figures::summary(stage)
}

fn keep_or_end(args: &Args, stage: &mut Stage) -> Result<()> {
    if args.keep {
        return keep::run(stage);
    }
    stage.finish();
    Ok(())
}
