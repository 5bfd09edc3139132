//! Producers: they send each update until it is answered, and some of them again.

use std::{sync::Arc, time::Duration};

use integration::stack::Stack;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use shared::execution::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::lives::{Expected, Life};

/// How many batches are on their way at a time.
const POSTS: usize = 20;

/// The most updates of a batch.
const BATCH: usize = 12;

/// A life that was told.
pub(crate) struct Lived {
    pub(crate) life: Life,
    /// One for each of its steps.
    pub(crate) told: Vec<Told>,
}

/// What became of an update.
pub(crate) struct Told {
    pub(crate) event_id: String,
    pub(crate) expected: Expected,
    /// Why, where it was rejected.
    pub(crate) rejection: Option<String>,
    /// Between which times it was heard, where that is known.
    pub(crate) heard: Option<(Timestamp, Timestamp)>,
}

/// How an update was answered.
#[derive(Clone, Debug)]
enum Answer {
    /// It counts now, or did already.
    Counts {
        /// Surely now, by this batch.
        is_new: bool,
    },
    Rejected(String),
}

/// Updates of anybody, gathered to batches, as a queue does it.
#[derive(Clone)]
pub(crate) struct Posts(Vec<mpsc::UnboundedSender<Letter>>);

struct Letter {
    update: Value,
    answer: oneshot::Sender<Option<Answer>>,
}

impl Posts {
    pub(crate) fn open(stack: &Arc<Stack>, random: &mut StdRng) -> Self {
        let post = |_| {
            let (sender, letters) = mpsc::unbounded_channel();
            let random = StdRng::seed_from_u64(random.random());
            tokio::spawn(carry(stack.clone(), letters, random));
            sender
        };
        Posts((0..POSTS).map(post).collect())
    }

    /// Sends an update once.
    async fn send(&self, update: &Value, random: &mut StdRng) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let update = update.clone();
        let letter = Letter { update, answer };
        self.0.choose(random)?.send(letter).ok()?;
        answered.await.ok()?
    }

    /// Lets a life be lived.
    pub(crate) async fn live(self, life: Life, mut random: StdRng) -> Lived {
        let mut told: Vec<Told> = Vec::new();
        sleep(Duration::from_millis(random.random_range(0..2_000))).await;
        for step in &life.steps {
            sleep(step.pause).await;
            let mut answered = self.tell(&step.update, &mut random).await;
            answered.expected = step.expected;
            told.push(answered);
            if random.random_bool(0.25) {
                // At least once, as queues deliver; and at the same time, and later.
                let earlier = random.random_range(0..told.len());
                let is_in_log = life.steps[earlier].expected == Expected::Event
                    && told[earlier].rejection.is_none();
                let earlier = if is_in_log { earlier } else { told.len() - 1 };
                let mut other = StdRng::seed_from_u64(random.random());
                let (_, again) = tokio::join!(
                    self.send(&step.update, &mut other),
                    self.send(&life.steps[earlier].update, &mut random),
                );
                if let (Some(Answer::Rejected(reason)), true) = (again, is_in_log) {
                    panic!(
                        "{}: {reason}, and it was in the log",
                        told[earlier].event_id
                    );
                }
            }
        }
        Lived { life, told }
    }

    /// Sends an update until it is answered.
    async fn tell(&self, update: &Value, random: &mut StdRng) -> Told {
        loop {
            let began_at = Timestamp::now();
            if let Some(answer) = self.send(update, random).await {
                let is_new = matches!(answer, Answer::Counts { is_new: true });
                return Told {
                    event_id: update["eventId"].as_str().unwrap().to_owned(),
                    expected: Expected::Event,
                    rejection: match answer {
                        Answer::Counts { .. } => None,
                        Answer::Rejected(reason) => Some(reason),
                    },
                    heard: is_new.then(|| (began_at, Timestamp::now())),
                };
            }
            sleep(Duration::from_millis(random.random_range(20..400))).await;
        }
    }
}

/// Carries batch after batch to the worker.
async fn carry(
    stack: Arc<Stack>,
    mut letters: mpsc::UnboundedReceiver<Letter>,
    mut random: StdRng,
) {
    while let Some(first) = letters.recv().await {
        let mut batch = vec![first];
        sleep(Duration::from_millis(random.random_range(0..40))).await;
        while batch.len() < BATCH
            && let Ok(letter) = letters.try_recv()
        {
            batch.push(letter);
        }
        let answers = deliver(&stack, &batch).await;
        for (index, letter) in batch.into_iter().enumerate() {
            let answer = answers.as_ref().map(|answers| answers[index].clone());
            let _ = letter.answer.send(answer);
        }
    }
}

/// Invokes the worker; returns an answer for each, where it did its work.
async fn deliver(stack: &Stack, batch: &[Letter]) -> Option<Vec<Answer>> {
    let updates: Vec<_> = batch.iter().map(|letter| &letter.update).collect();
    let url = format!("{}/2015-03-31/functions/worker/invocations", stack.url);
    let invocation = reqwest::Client::new()
        .post(url)
        .json(&json!({"updates": updates}))
        .send();
    let response = timeout(Duration::from_secs(40), invocation).await.ok()?;
    let answer: Value = response.ok()?.json().await.ok()?;
    let duplicates = answer["duplicates"].as_u64()?;
    let counts = Answer::Counts {
        is_new: duplicates == 0,
    };
    let mut answers = vec![counts; batch.len()];
    for rejected in answer["rejected"].as_array()? {
        let index = usize::try_from(rejected["index"].as_u64()?).ok()?;
        answers[index] = Answer::Rejected(rejected["reason"].as_str()?.to_owned());
    }
    Some(answers)
}
