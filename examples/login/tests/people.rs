//! The people get in with the passwords that the pages show, and the pages learn who it is.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use tower_service::Service;
use tramline_example_login::{PEOPLE, form, login, people, router};

async fn text(response: Response) -> String {
    let body = to_bytes(response.into_body(), 4096).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_people_get_in_with_their_passwords() {
    let login = login(people()).without_csrf_tokens().build().unwrap();
    let mut app = login.protect(router());
    let nobody = app.call(Request::get("/me").body(Body::empty()).unwrap());
    assert_eq!(text(nobody.await.unwrap()).await, "{\"name\":null}");
    for (name, password) in PEOPLE {
        let fields = format!("name={name}&password={}", password.replace(' ', "+"));
        let request = Request::post("/login").body(Body::from(fields)).unwrap();
        let answer = app.call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{name}");
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let me = Request::get("/me").header(header::COOKIE, cookie);
        let me = app.call(me.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(text(me).await, format!("{{\"name\":\"{name}\"}}"));
    }
}

#[tokio::test]
async fn the_page_shows_names_and_passwords() {
    let login = login(people()).page(form).build().unwrap();
    let mut app = login.protect(router());
    let page = app.call(Request::get("/login").body(Body::empty()).unwrap());
    let page = text(page.await.unwrap()).await;
    for (name, password) in PEOPLE {
        assert!(page.contains(name) && page.contains(password), "{page}");
    }
}
