//! The `chaos` command: arguments in, exit code out.

use clap::Parser as _;
use velocitygate_chaos::cli::Cli;
use velocitygate_chaos::exit::Exit;

#[tokio::main]
async fn main() -> Exit {
    Cli::parse().execute().await.unwrap_or_else(|error| {
        eprintln!("chaos: {error:#}");
        Exit::Usage
    })
}
