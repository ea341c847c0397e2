//! The program `sopwith-server`: see `sopwith_server::cli`.

fn main() -> std::process::ExitCode {
    sopwith_server::cli::main()
}
