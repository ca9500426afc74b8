//! Opens the state where `[store]` says it is.

use crate::config::StoreConfig;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_store::{Store, StoreOptions};
use std::path::Path;

/// The state of a service that has no server for it.
const FILE: &str = "state.sqlite";

/// Opens the state; `folder` is that of the server role.
pub fn open(folder: &Path, config: &StoreConfig) -> Result<Store, Explained> {
    let Some(url) = &config.url else {
        return Store::open(&folder.join(FILE), StoreOptions::default())
            .map_err(|e| Explained::of(&e));
    };
    if folder.join(FILE).exists() {
        // Keys, cases and waivers would seem to be gone, and the alerts that wait would not leave.
        return Err(Explained::new(
            ErrorCode("config/two-states"),
            "the state directory holds state, and [store] url names another place for it",
            "remove [store] url, or, to begin anew on the server, move server/state.sqlite aside",
        ));
    }
    server(folder, url)
}

#[cfg(not(feature = "scale"))]
fn server(_: &Path, _: &str) -> Result<Store, Explained> {
    Err(Explained::new(
        ErrorCode("config/no-scale"),
        "this build of ringfence has no PostgreSQL",
        "build it with --features scale, or remove [store] url",
    ))
}

#[cfg(feature = "scale")]
fn server(folder: &Path, url: &str) -> Result<Store, Explained> {
    scale::open(folder, url)
}

#[cfg(feature = "scale")]
mod scale {
    use crate::config::{Address, Place};
    use ringfence_core::error::{ErrorCode, Explained};
    use ringfence_core::ports::BoxFuture;
    use ringfence_core::secret::Secret;
    use ringfence_store::Store;
    use ringfence_store::postgres::{
        CONNECT_ATTEMPTS_MAX, Connector, Login, PostgresOptions, Stream,
    };
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;

    /// Where the password of the server stands, if it asks for one: in the folder that only the
    /// server role can read.
    const PASSWORD_FILE: &str = "postgres.password";
    /// LIMIT: octets of a password.
    const PASSWORD_BYTES_MAX: usize = 1_024;

    pub(super) fn open(folder: &Path, url: &str) -> Result<Store, Explained> {
        let address = Address::parse(url).map_err(|_| {
            Explained::new(
                ErrorCode("config/refused"),
                "[store] url is not the address of a server",
                "write postgres://USER@/DATABASE?host=/run/postgresql",
            )
        })?;
        let options = PostgresOptions {
            connector: Arc::new(Way(address.place)),
            login: Login {
                user: address.user,
                password: password(&folder.join(PASSWORD_FILE))?,
                database: address.database,
            },
            attempts: CONNECT_ATTEMPTS_MAX,
        };
        Store::open_postgres(options).map_err(|e| Explained::of(&e))
    }

    /// The first line of the file; none if there is no file.
    fn password(path: &Path) -> Result<Option<Secret<String>>, Explained> {
        let unreadable = |why: &str| {
            Explained::new(
                ErrorCode("config/password-file"),
                format!("{} cannot be used: {why}", path.display()),
                "make it a file of one line that only the user of the server role can read (0600)",
            )
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(&e.to_string())),
        };
        let metadata = file.metadata().map_err(|e| unreadable(&e.to_string()))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(unreadable("others may read it"));
        }
        let mut text = String::new();
        file.take(PASSWORD_BYTES_MAX as u64 + 2)
            .read_to_string(&mut text)
            .map_err(|e| unreadable(&e.to_string()))?;
        let text = Secret::new(text);
        let line = text.danger_expose().trim_end_matches(['\n', '\r']);
        if line.is_empty() || line.len() > PASSWORD_BYTES_MAX || line.contains('\n') {
            return Err(unreadable("it is not one line of at most 1,024 octets"));
        }
        Ok(Some(Secret::new(line.to_owned())))
    }

    /// Connects to the server of this machine.
    struct Way(Place);

    impl Connector for Way {
        fn connect(&self) -> BoxFuture<'_, std::io::Result<Box<dyn Stream>>> {
            Box::pin(async {
                Ok(match &self.0 {
                    Place::Unix(path) => {
                        Box::new(tokio::net::UnixStream::connect(path).await?) as Box<dyn Stream>
                    }
                    Place::Loopback(address) => {
                        Box::new(ringfence_net::dial::loopback(*address).await?)
                    }
                })
            })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::config::StoreConfig;
        use ringfence_core::ids::ProjectId;
        use ringfence_store::settings;
        use ringfence_testkit::postgres::{PASSWORD, Private, USER};

        fn write(folder: &Path, text: &str, mode: u32) {
            let path = folder.join(PASSWORD_FILE);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }

        #[test]
        fn the_state_is_kept_on_the_server_that_the_configuration_names() {
            let server = Private::start().unwrap();
            let database = server.database().unwrap();
            let socket = server.socket_dir().display();
            let url = format!("postgres://{USER}@/{database}?host={socket}");
            let config = StoreConfig { url: Some(url) };
            let folder = tempfile::tempdir().unwrap();
            let code = || super::super::open(folder.path(), &config).unwrap_err().code;
            write(folder.path(), "wrong", 0o600);
            assert_eq!(code(), "record/store-unreachable");
            write(folder.path(), PASSWORD, 0o640);
            assert_eq!(code(), "config/password-file");
            write(folder.path(), &format!("{PASSWORD}\n"), 0o600);
            let store = super::super::open(folder.path(), &config).unwrap();
            store
                .write(|tx| settings::put(tx, &ProjectId::host(), "a", b"1"))
                .unwrap();
            let rows = "SELECT count(*) FROM ringfence.settings";
            assert_eq!(server.sql(&database, rows).as_deref(), Ok("1"));
            assert!(!folder.path().join(super::super::FILE).exists());
        }

        #[test]
        fn a_password_is_a_line_up_to_its_limit() {
            let folder = tempfile::tempdir().unwrap();
            let read = || password(&folder.path().join(PASSWORD_FILE));
            assert!(read().unwrap().is_none());
            let longest = "x".repeat(PASSWORD_BYTES_MAX);
            write(folder.path(), &format!("{longest}\n"), 0o600);
            assert_eq!(read().unwrap().unwrap().danger_expose(), &longest);
            for text in ["", "\n", "a\nb", &format!("{longest}x")] {
                write(folder.path(), text, 0o600);
                assert!(read().is_err(), "{} octets", text.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_place_never_leaves_state_behind_silently() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), &StoreConfig::default()).unwrap());
        let url = Some("postgres://a@/b?host=/nonexistent".to_owned());
        let error = open(folder.path(), &StoreConfig { url }).unwrap_err();
        assert_eq!(error.code, "config/two-states");
    }

    #[cfg(not(feature = "scale"))]
    #[test]
    fn a_build_without_postgres_says_how_to_get_one_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = Some("postgres://a@/b?host=/run/postgresql".to_owned());
        let error = open(folder.path(), &StoreConfig { url }).unwrap_err();
        assert_eq!(error.code, "config/no-scale");
        assert!(error.help.is_some_and(|h| h.contains("--features scale")));
    }
}
