use super::*;

fn server(url: &str) -> Server {
    Server { server: url.into(), token_file: None, ca_file: None, cert: None, key: None }
}

#[test]
fn what_is_no_url_of_a_server_is_refused_by_its_flag() {
    for url in ["", "127.0.0.1:18001", "ftp://host", "http://user:secret@host", "http://host?x=1", "/path"] {
        let error = server(url).client().map(drop).unwrap_err();
        assert!(format!("{error:#}").starts_with(&format!("--server {url}")), "{url}: {error:#}");
    }
    let client = server("http://[::1]:4/below/").client().unwrap();
    assert_eq!((client.target.prefix(), client.target.authority()), ("/below", "[::1]:4"));
}

#[test]
fn a_server_that_is_away_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    let error = server(&url).client().unwrap().get::<()>("fleets").unwrap_err();
    assert_eq!(error.to_string(), format!("{url} does not answer: Connection refused"));
}

#[test]
fn a_token_is_the_last_word_of_the_first_line_that_has_any() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# operators\n\n  alice  0123456789abcdef \nbob other\n").unwrap();
    assert_eq!(token::read(file.path()).unwrap(), "Bearer 0123456789abcdef");
    std::fs::write(file.path(), "#\n").unwrap();
    assert!(token::read(file.path()).unwrap_err().to_string().contains("no token"));
}

#[test]
fn names_are_escaped_in_paths() {
    assert_eq!(escaped("a/b c?ü"), "a%2Fb%20c%3F%C3%BC");
}
