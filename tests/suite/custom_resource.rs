//! The function `migrate` as a custom resource of `CloudFormation`, against a server that takes its
//! answers as S3 does.

use integration::{PATIENCE, stack::Stack};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

#[tokio::test]
async fn an_older_version_goes_on_with_a_newer_ones_schema() {
    let stack = Stack::start().await;
    let newer = "INSERT INTO refinery_schema_history
                 SELECT 99, 'newer', applied_on, checksum FROM refinery_schema_history LIMIT 1";
    stack.postgres().await.batch_execute(newer).await.unwrap();
    let answer = stack.invoke("migrate", &json!({"action": "migrate"})).await;
    assert_eq!(answer, json!({"applied": []}));
}

/// Where `CloudFormation` waits for an answer.
struct Answers(TcpListener);

impl Answers {
    async fn new() -> Self {
        Answers(TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    /// A request of this type, as `CloudFormation` sends it.
    fn request(&self, request_type: &str, properties: Value) -> Value {
        let port = self.0.local_addr().unwrap().port();
        json!({
            "RequestType": request_type,
            "ResponseURL": format!("http://127.0.0.1:{port}/answer?X-Amz-Signature=secret"),
            "StackId": "arn:aws:cloudformation:eu-central-1:000000000000:stack/runcast/1",
            "RequestId": "request-1",
            "ResourceType": "Custom::Schema",
            "LogicalResourceId": "Schema",
            "ResourceProperties": properties,
        })
    }

    /// Takes one request, answers it with `status`, and returns its head and body.
    async fn take(&self, status: &str) -> (String, Value) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut read = Vec::new();
        loop {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            let text = String::from_utf8_lossy(&read);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let mut headers = head.lines().filter_map(|line| line.split_once(": "));
            let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if body.len() == length.unwrap().1.parse::<usize>().unwrap() {
                let answer = (head.to_owned(), serde_json::from_str(body).unwrap());
                let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(response.as_bytes()).await.unwrap();
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn a_creation_and_a_deletion_are_answered_with_success() {
    let (stack, answers) = (Stack::start().await, Answers::new().await);
    for request_type in ["Create", "Update", "Delete"] {
        let request = answers.request(request_type, json!({"Version": "1"}));
        let invoke = stack.invoke("migrate", &request);
        let (_, (head, answer)) = tokio::join!(invoke, answers.take("200 OK"));
        assert!(
            head.starts_with("PUT /answer?X-Amz-Signature=secret "),
            "{head}"
        );
        // The presigned URL is for a request without one.
        assert!(!head.to_lowercase().contains("content-type"), "{head}");
        let expected = json!({
            "Status": "SUCCESS",
            "PhysicalResourceId": "runcast-schema",
            "StackId": request["StackId"],
            "RequestId": "request-1",
            "LogicalResourceId": "Schema",
            "Data": {"Applied": ""},
        });
        assert_eq!(answer, expected, "{request_type}");
    }
}

#[tokio::test]
async fn an_answer_is_tried_again_where_the_server_fails() {
    let (stack, answers) = (Stack::start().await, Answers::new().await);
    let request = answers.request("Create", json!({}));
    let taken = timeout(PATIENCE, async {
        answers.take("503 Slow Down").await;
        answers.take("200 OK").await.1
    });
    let (said, answer) = tokio::join!(stack.invoke("migrate", &request), taken);
    assert_eq!(said["Status"], "SUCCESS", "{said}");
    assert_eq!(answer.unwrap(), said);
}

#[tokio::test]
async fn a_failure_is_answered_without_internals() {
    let (stack, answers) = (Stack::start().await, Answers::new().await);
    let forget = "ALTER TABLE refinery_schema_history RENAME TO forgotten";
    stack.postgres().await.batch_execute(forget).await.unwrap();
    let request = answers.request("Update", json!({}));
    let invoke = stack.invoke("migrate", &request);
    let (_, (_, answer)) = tokio::join!(invoke, answers.take("200 OK"));
    assert_eq!(answer["Status"], "FAILED");
    let reason = "failed to migrate the schema; see the function's log";
    assert_eq!(answer["Reason"], reason);
    // A stack can be deleted all the same.
    let request = answers.request("Delete", json!({}));
    let invoke = stack.invoke("migrate", &request);
    let (_, (_, answer)) = tokio::join!(invoke, answers.take("200 OK"));
    assert_eq!(answer["Status"], "SUCCESS");
}

#[tokio::test]
async fn an_answer_that_is_refused_fails_the_invocation_and_its_url_is_not_logged() {
    let (stack, answers) = (Stack::start().await, Answers::new().await);
    let request = answers.request("Create", json!({}));
    let invoke = stack.invoke("migrate", &request);
    let (said, _) = tokio::join!(invoke, answers.take("403 Forbidden"));
    let error = said["errorMessage"].as_str().unwrap();
    assert!(error.contains("did not reach CloudFormation"), "{error}");
    let logged = stack.said();
    assert!(logged.contains("CloudFormation does not know"), "{logged}");
    assert!(!logged.contains("X-Amz-Signature"), "{logged}");
}

#[tokio::test]
async fn the_roles_can_log_in_by_iam_where_it_is_asked_for() {
    let (stack, answers) = (Stack::start().await, Answers::new().await);
    let postgres = stack.postgres().await;
    postgres.batch_execute("CREATE ROLE rds_iam").await.unwrap();
    let request = answers.request("Create", json!({"GrantIamLogins": "true"}));
    let invoke = stack.invoke("migrate", &request);
    let (_, (_, answer)) = tokio::join!(invoke, answers.take("200 OK"));
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let count = "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND pg_has_role(oid, 'rds_iam', \
                 'MEMBER') AND rolname IN ('runcast_reader', 'runcast_writer')";
    assert_eq!(stack.number(count).await, 2);
}
