//! The same greeting in JSON, as Spring's guide has it: an application of its own, with its own broker.

use serde::{Deserialize, Serialize};
use tramline::policy::{Policy, deny, permit};
use tramline::{EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, message};

#[derive(Deserialize)]
struct Hello {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    content: String,
}

async fn greet(Json(hello): Json<Hello>) -> Json<Greeting> {
    Json(Greeting {
        content: format!("Hello, {}!", escaped(&hello.name)),
    })
}

/// The name as HTML: the page of Spring's guide appends what it receives as HTML, and Spring's controller escapes for it.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// What the page `page-json/app.js` talks to at `/gs-guide-websocket`.
pub fn messaging() -> MessagingBuilder {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny());

    Messaging::builder()
        .name("greeting-json")
        .routes(MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings")))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_no_html() {
        let name = "<img src=x onerror='alert(\"&\")'>".to_owned();
        let Json(greeting) = greet(Json(Hello { name })).await;
        assert_eq!(
            greeting.content,
            "Hello, &lt;img src=x onerror=&#39;alert(&quot;&amp;&quot;)&#39;&gt;!"
        );
    }
}
