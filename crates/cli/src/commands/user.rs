use std::io::{BufRead, stdin};

use clap::Args;
use tramline_login::{Name, hash_password};

use crate::failure::Failure;
use crate::output::line;

/// Print a line for the file of users of `serve`: name, Argon2id hash of the password on stdin, roles.
#[derive(Args)]
pub(crate) struct User {
    /// The name; it is printed in the form that logins have (lower case).
    name: String,
    /// Roles, with commas between them.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
}

impl User {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let name = Name::parse(&self.name);
        let name = name.map_err(|error| Failure::Usage(format!("{:?}: {error}", self.name)))?;
        let mut password = String::new();
        let read = stdin().lock().read_line(&mut password);
        read.map_err(Failure::io("cannot read the password from stdin"))?;
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(Failure::Usage("the password on stdin is empty".to_owned()));
        }
        let (hash, roles) = (hash_password(password), self.roles.join(","));
        line(&format!("{}:{hash}:{roles}", name.as_str()))
    }
}
