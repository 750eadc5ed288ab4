//! The application behind a real server, with real clients.

use std::collections::BTreeSet;
use std::error::Error;

use axum::Router;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tramline::Messaging;
use tramline_client::{Client, Subscription};
use tramline_example_login::login;
use tramline_example_portfolio::Application;
use tramline_example_portfolio::quotes::Quotes;
use tramline_login::MemoryUsers;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const PASSWORD: &str = "spring-rides";

struct Server {
    _application: Application,
    address: String,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Outcome<Self> {
        let users = MemoryUsers::new();
        for name in ["fabrice", "paulson"] {
            users.add(name, PASSWORD, [""; 0])?;
        }
        let login = login(users).sockets("/portfolio").without_csrf_tokens();
        let login = login.build()?;
        let builder = login.bind(Messaging::builder());
        let application = Application::start(builder, Quotes::default())?;
        let endpoint = application.messaging().endpoint().with_sockjs();
        let app = login.protect(Router::new().nest_service("/portfolio", endpoint));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("serves");
        });
        Ok(Self {
            _application: application,
            address,
            serving,
        })
    }

    /// Logs in as a browser does.
    async fn login(&self, name: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let (body, host) = (format!("name={name}&password={PASSWORD}"), &self.address);
        let request = format!(
            "POST /login HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, cookie) = answer.split_once("set-cookie: ").ok_or(answer.clone())?;
        let cookie = cookie.split(';').next();
        Ok(cookie.ok_or("a cookie ends")?.to_owned())
    }

    fn url(&self) -> String {
        format!("ws://{}/portfolio/websocket", self.address)
    }

    async fn connect(&self, name: &str) -> Outcome<Client> {
        let cookie = self.login(name).await?;
        let connected = Client::connect(self.url()).http_header("cookie", cookie);
        Ok(connected.await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn next(subscription: &mut Subscription) -> Outcome<Value> {
    let message = subscription.next().await.ok_or("a message")??;
    Ok(serde_json::from_str(message.text()?)?)
}

async fn trade(client: &Client, trade: Value) -> Outcome {
    let sent = client.send("/app/trade", trade.to_string());
    sent.content_type("application/json").receipt().await?;
    Ok(())
}

#[tokio::test]
async fn positions_are_answered_to_the_one_who_asks() -> Outcome {
    let server = Server::start().await?;
    let fabrice = server.connect("fabrice").await?;
    let mut positions = fabrice.subscribe("/app/positions").await?;
    let answer = next(&mut positions).await?;
    let tickers: Vec<_> = answer
        .as_array()
        .ok_or("a list")?
        .iter()
        .map(|position| position["ticker"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        tickers,
        ["CTXS", "DELL", "EMC", "GOOG", "MSFT", "ORCL", "RHT", "VMW"]
    );
    assert_eq!(answer[3]["company"], "Google Inc");
    Ok(())
}

#[tokio::test]
async fn a_trade_is_told_to_all_sessions_of_its_user_alone() -> Outcome {
    let server = Server::start().await?;
    let sessions = [
        server.connect("fabrice").await?,
        server.connect("fabrice").await?,
        server.connect("paulson").await?,
    ];
    let mut updates = Vec::new();
    for session in &sessions {
        updates.push(session.subscribe("/user/queue/position-updates").await?);
    }
    trade(
        &sessions[0],
        json!({"action": "Buy", "ticker": "DELL", "shares": 10}),
    )
    .await?;
    trade(
        &sessions[2],
        json!({"action": "Sell", "ticker": "EMC", "shares": "5"}),
    )
    .await?;
    for (updates, expected) in updates
        .iter_mut()
        .zip([("DELL", 60), ("DELL", 60), ("EMC", 70)])
    {
        // News come in order: those of somebody else's trade would be first.
        let update = next(updates).await?;
        assert_eq!(
            (update["ticker"].as_str(), update["shares"].as_u64()),
            (Some(expected.0), Some(expected.1))
        );
    }
    Ok(())
}

#[tokio::test]
async fn errors_are_told_to_the_session_that_made_them_alone() -> Outcome {
    let server = Server::start().await?;
    let sender = server.connect("fabrice").await?;
    let other = server.connect("fabrice").await?;
    let mut errors = sender.subscribe("/user/queue/errors").await?;
    let mut others = other.subscribe("/user/queue/errors").await?;
    let sell = |shares: i64| json!({"action": "Sell", "ticker": "GOOG", "shares": shares});
    trade(&sender, sell(6)).await?;
    assert_eq!(
        next(&mut errors).await?,
        "Not enough shares: 6 GOOG to sell, 5 available"
    );
    sender.send("/app/trade", "Sell!").receipt().await?;
    let error = next(&mut errors).await?;
    assert!(
        error
            .as_str()
            .is_some_and(|text| text.contains("expected value")),
        "{error}"
    );
    trade(&other, sell(0)).await?;
    assert_eq!(
        next(&mut others).await?,
        "Invalid number of shares: 0, not from 1 to 1000000"
    );
    Ok(())
}

#[tokio::test]
async fn all_prices_come_by_one_pattern() -> Outcome {
    let server = Server::start().await?;
    let fabrice = server.connect("fabrice").await?;
    let mut quotes = fabrice.subscribe("/topic/price.stock.*").await?;
    let mut rates = fabrice.subscribe("/topic/price.rate").await?;
    let mut tickers = BTreeSet::new();
    while tickers.len() < 8 {
        let quote = next(&mut quotes).await?;
        assert!(
            quote["price"].as_f64().is_some_and(|price| price > 1.0),
            "{quote}"
        );
        tickers.insert(quote["ticker"].to_string());
    }
    let rate = next(&mut rates).await?;
    assert!(
        rate["updates"]
            .as_u64()
            .is_some_and(|updates| updates > 100),
        "{rate}"
    );

    Ok(())
}

#[tokio::test]
async fn the_policy_refuses_strangers_and_forged_prices() -> Outcome {
    let server = Server::start().await?;
    let refused = Client::connect(server.url()).await.expect_err("no cookie");
    assert!(refused.to_string().contains("CONNECT"), "{refused}");

    let fabrice = server.connect("fabrice").await?;
    let forged = fabrice
        .send("/topic/price.stock.DELL", "{}")
        .receipt()
        .await;
    let error = forged.expect_err("no client makes prices").to_string();
    assert!(error.contains("/topic/price.stock.DELL"), "{error}");
    Ok(())
}
