//! Completion scripts, made from the same definition as `--help`.

use crate::failure::Failure;
use crate::ui::{self, Ui};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sopwith completions bash > /etc/bash_completion.d/sopwith
  sopwith completions zsh > ~/.zfunc/_sopwith")]
pub struct Completions {
    shell: Shell,
}

/// Prints the script.
pub fn print(args: Completions, _ui: &Ui) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Args::command(), "sopwith", &mut script);
    ui::print_out(&String::from_utf8_lossy(&script))
}
