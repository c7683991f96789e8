//! What happens, chapter by chapter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::consumer::{Consumer, Seen};
use super::kubectl::{Kubectl, Watch};
use super::say::{Verdict, Voice};
use super::server::SignIn;
use super::stage::{Ground, NAMESPACE, Stage};
use super::workshop::{Afterwards, Workshop, beside_us};

const ASSET: &str = "support";
const EMAIL: &str = "support@example.com";
const CLIENT: &str = "helpdesk";
/// So short that three refreshes fit into a demo: no refresh comes sooner than 30 seconds after the one before.
const LIFETIME: u32 = 45;
/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(90);

/// Tells the whole story.
pub(crate) async fn tell(workshop: &mut Workshop, ground: Ground, voice: Voice) -> Result<()> {
    let began = Instant::now();
    voice.heading("emailasset-operator: a mailbox whose token is always valid");
    voice.tell(
        "A mail server takes no password any more, but a token that lives for an hour at most. In the next two minutes the operator keeps such a token valid in a \
         Kubernetes Secret: through three refreshes, a kill -9, and a sign-in that its owner takes back.",
    );
    voice.gap();
    let stage = Stage::set(workshop, ground, voice).await?;
    let mut story = Story { stage, voice };
    let mut sign_in = story.what_a_person_writes().await?;
    let consumer = story.what_consumers_get().await?;
    story.refreshes(&sign_in).await?;
    let seen = consumer.seen();
    drop(consumer);
    let counted = story.stage.server.counters(&sign_in.grant).await?;
    story.taken_back(&sign_in).await?;
    sign_in = story.mended().await?;
    story.summary(seen, &counted, began.elapsed())?;
    if story.stage.workshop.afterwards == Afterwards::Keep {
        story.how_to_play_on(&sign_in).await?;
    }
    Ok(())
}

struct Story<'a> {
    stage: Stage<'a>,
    voice: Voice,
}

impl Story<'_> {
    async fn what_a_person_writes(&self) -> Result<SignIn> {
        let Self { stage, voice } = self;
        voice.heading("1. What a person writes");
        stage.server.set_lifetime(LIFETIME).await?;
        let secret = stage.server.register(CLIENT).await?;
        let sign_in = stage.server.sign_in(CLIENT, EMAIL).await?;
        self.put_secret("oauth-client", &json!({"client_id": CLIENT, "client_secret": secret}))
            .await?;
        self.put_secret("support-seed", &json!({"refresh_token": sign_in.refresh_token}))
            .await?;
        voice.tell(
            "Two Secrets hold what is secret: oauth-client (client ID and client secret) and support-seed (the refresh token from one sign-in). Each names in an \
             annotation the only host that may ever receive its contents. The rest is this:",
        );
        voice.gap();
        let manifest = manifest(&stage.server.token_url);
        voice.block(&manifest);
        voice.gap();
        let mut watch = stage
            .kubectl
            .watch(&["get", "emailassets", "-n", NAMESPACE, "--watch"])?;
        let applied = stage.kubectl.run_with_input(&["apply", "-f", "-"], &manifest).await?;
        voice.command("kubectl apply -f support.yaml", &applied);
        voice.command(&format!("kubectl get emailasset -n {NAMESPACE} --watch"), "");
        let watching = async {
            while let Some(line) = watch.next_line().await? {
                voice.block(&line);
                if line.split_whitespace().any(|word| word == "True") {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        };
        timeout(PATIENCE, watching)
            .await
            .with_context(|| format!("{ASSET} did not become Ready"))??;
        voice.gap();
        voice.tell("What its conditions say:");
        voice.gap();
        self.show_conditions(&self.asset().await?);
        Ok(sign_in)
    }

    async fn what_consumers_get(&self) -> Result<Consumer> {
        let Self { stage, voice } = self;
        voice.heading("2. What consumers get");
        voice.tell("Two Secrets of the operator's own. Mail clients mount the first; the second is for the operator alone. Only names of keys are shown here.");
        voice.gap();
        for (name, what) in [
            ("support-token", "for mail clients"),
            ("support-grant", "for the operator alone"),
        ] {
            let secret = stage.kubectl.json(&["get", "secret", name, "-n", NAMESPACE]).await?;
            let keys: Vec<_> = secret["data"]
                .as_object()
                .map(|data| data.keys().cloned().collect())
                .unwrap_or_default();
            voice.block(&format!("{name}  ({what})\n    {}", keys.join(", ")));
        }
        voice.gap();
        let consumer = Consumer::start(&stage.kubectl, Arc::clone(&stage.server), "support-token", EMAIL)?;
        voice.tell("From now on a consumer takes the token from the Secret twice a second and uses it at the server.");
        Ok(consumer)
    }

    async fn refreshes(&mut self, sign_in: &SignIn) -> Result<()> {
        let voice = self.voice;
        voice.heading(match self.stage.ground {
            Ground::Ours => "3. Three refreshes, and a kill -9 in the middle of one",
            Ground::Theirs => "3. Three refreshes, and a kill -9",
        });
        voice.tell(&format!(
            "Tokens live for {LIFETIME} seconds here, so a new one is due every 30. The server is strict: with each refresh the refresh token is replaced, and \
             whoever shows a spent one again loses the whole sign-in."
        ));
        voice.gap();
        let mut generations = Generations::watch(&self.stage.kubectl)?;
        self.wait_for_refresh(&mut generations, 2, sign_in).await?;
        match (self.stage.ground, self.stage.api_server) {
            (Ground::Ours, Some(api_server)) => {
                self.kill_with_an_answer_in_hand(&mut generations, sign_in, api_server)
                    .await?;
            }
            _ => self.kill_between_refreshes(&mut generations, sign_in).await?,
        }
        self.wait_for_refresh(&mut generations, 4, sign_in).await
    }

    /// Waits for a refresh that comes by itself.
    async fn wait_for_refresh(&self, generations: &mut Generations, wanted: u64, sign_in: &SignIn) -> Result<()> {
        let due = self.due(wanted - 1).await?;
        let seen = self.until_due(due, generations.reach(wanted)).await?;
        self.show_refresh(&seen, sign_in).await
    }

    async fn show_refresh(&self, seen: &Published, sign_in: &SignIn) -> Result<()> {
        let Self { stage, voice } = self;
        let works = stage.server.is_good(&self.token().await?, EMAIL).await?;
        let counted = stage.server.counters(&sign_in.grant).await?;
        let line = format!(
            "generation {} until {}; at the server it {}; token requests so far: {}",
            seen.generation,
            clock(&seen.expires),
            if works { "works" } else { "does NOT work" },
            counted["requests"]
        );
        voice.judge(Verdict::of(works), &line);
        Ok(())
    }

    /// The worst moment: the server has replaced the refresh token, and the cluster cannot take the new one.
    async fn kill_with_an_answer_in_hand(
        &mut self,
        generations: &mut Generations,
        sign_in: &SignIn,
        api_server: i32,
    ) -> Result<()> {
        let voice = self.voice;
        voice.gap();
        voice.tell(
            "Now the worst moment for a crash: the server has replaced the refresh token, so the old one is worthless, and the new one is not in the cluster yet. \
             The next answer is held back to catch that moment.",
        );
        let fault = self.stage.server.hold_next_answer().await?;
        let due = self.due(2).await?;
        self.until_due(due, self.stage.server.wait_until_held(&fault)).await?;
        voice.block("1. the operator has asked, the server has answered with a new refresh token");
        self.stage.workshop.pause(api_server)?;
        voice.block("2. the Kubernetes API server freezes (SIGSTOP): nothing can be stored");
        self.stage.server.release(&fault).await?;
        let size = self.until_spooled().await?;
        voice.block(&format!(
            "3. the answer arrives; the only copy is a file of {size} bytes in the operator's spool, in memory"
        ));
        self.stage.workshop.kill_operator().await?;
        voice.block("4. kill -9 for the operator");
        self.stage.workshop.resume()?;
        let started = Instant::now();
        self.stage.start_operator().await?;
        voice.block("5. the API server goes on, and the operator is started again");
        voice.gap();
        let seen = generations.reach(3).await?;
        voice.good(&format!(
            "nothing was lost: {:.1} s after its start the new process has stored and published what the killed one left",
            started.elapsed().as_secs_f32()
        ));
        self.show_refresh(&seen, sign_in).await?;
        voice.gap();
        Ok(())
    }

    /// In a cluster of the user's own the API server is not ours to freeze.
    async fn kill_between_refreshes(&mut self, generations: &mut Generations, sign_in: &SignIn) -> Result<()> {
        let voice = self.voice;
        voice.gap();
        let before = self.stage.server.counters(&sign_in.grant).await?;
        self.stage.workshop.kill_operator().await?;
        voice.block("kill -9 for the operator");
        self.stage.start_operator().await?;
        let after = self.stage.server.counters(&sign_in.grant).await?;
        voice.block(&format!(
            "it is started again; its start asked the server for {} tokens, since none was due",
            after["requests"].as_u64().unwrap_or_default() - before["requests"].as_u64().unwrap_or_default()
        ));
        voice.gap();
        self.wait_for_refresh(generations, 3, sign_in).await
    }

    async fn until_spooled(&self) -> Result<u64> {
        let looking = async {
            let mut tick = interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                if let Some(size) = self.stage.workshop.spooled().first() {
                    return *size;
                }
            }
        };
        timeout(PATIENCE, looking)
            .await
            .context("no answer came into the spool")
    }

    async fn taken_back(&self, sign_in: &SignIn) -> Result<()> {
        let Self { stage, voice } = self;
        voice.heading("4. The owner takes the sign-in back");
        voice.tell(
            "The owner of the mailbox revokes the access in the account's settings. The operator would learn of it at the next refresh; here it is asked for one \
             at once:",
        );
        voice.gap();
        stage.server.revoke(&sign_in.grant).await?;
        self.annotate("emailasset.dev/refresh=now").await?;
        self.until_condition("Authorized=False").await?;
        voice.tell("What the conditions say now, word for word:");
        voice.gap();
        let asset = self.asset().await?;
        self.show_conditions(&asset);
        voice.gap();
        let conditions = asset["status"]["conditions"].to_string();
        if !conditions.contains("kubectl patch secret") {
            bail!("no condition names the command that helps");
        }
        voice.tell(
            "Ready stays True until the published token's time is up, since most providers honour it until then. From that moment Ready is False, with the reason \
             SeedRequired, and Stalled says that somebody must act. Nothing more is sent to the server meanwhile.",
        );
        Ok(())
    }

    async fn mended(&self) -> Result<SignIn> {
        let Self { stage, voice } = self;
        voice.heading("5. A new sign-in mends it");
        let sign_in = stage.server.sign_in(CLIENT, EMAIL).await?;
        let patch = |token: &str| json!({"stringData": {"refresh_token": token}}).to_string();
        let command = ["patch", "secret", "support-seed", "-n", NAMESPACE, "--type=merge", "-p"];
        let real = patch(&sign_in.refresh_token);
        let mut arguments = command.to_vec();
        arguments.push(&real);
        let output = stage.kubectl.run(&arguments).await?;
        voice.command(&format!("kubectl {} '{}'", command.join(" "), patch("…")), &output);
        self.until_condition("Authorized=True").await?;
        self.until_condition("Ready=True").await?;
        let listed = stage.kubectl.run(&["get", "emailassets", "-n", NAMESPACE]).await?;
        voice.command(&format!("kubectl get emailasset -n {NAMESPACE}"), &listed);
        voice.gap();
        let works = stage.server.is_good(&self.token().await?, EMAIL).await?;
        let line = "the new token is in the same Secret; at the server it";
        voice.judge(
            Verdict::of(works),
            &format!("{line} {}", if works { "works" } else { "does NOT work" }),
        );
        Ok(sign_in)
    }

    fn summary(&self, seen: Seen, counted: &Value, took: Duration) -> Result<()> {
        let voice = self.voice;
        voice.heading("In short");
        let uses = format!(
            "the consumer used the token {} times through three refreshes and a kill -9; it was refused {} times",
            seen.uses, seen.refusals
        );
        let served = seen.refusals == 0 && seen.uses > 0;
        voice.judge(Verdict::of(served), &uses);
        let requests = format!(
            "the server got {} token requests for 4 tokens; spent refresh tokens shown again: {}; at the same time: never more than {}",
            counted["requests"], counted["killedByReplay"], counted["maxOverlapping"]
        );
        let clean = counted["requests"] == json!(4) && counted["killedByReplay"] == json!(0);
        voice.judge(Verdict::of(clean), &requests);
        voice.good("the one failure said who must do what, with the command");
        voice.gap();
        voice.aside(&format!(
            "This took {:.0} s. README.md tells how to do it with your own mailbox.",
            took.as_secs_f32()
        ));
        if self.stage.workshop.afterwards == Afterwards::Remove {
            voice.aside("Everything is being taken away again. To play on with it: make demo KEEP=1");
        }
        if !(served && clean) {
            bail!("not everything went as it should; see above");
        }
        Ok(())
    }

    async fn how_to_play_on(&self, sign_in: &SignIn) -> Result<()> {
        let Self { stage, voice } = self;
        // A calmer life for whoever plays on.
        stage.server.set_lifetime(600).await?;
        let script = stage.workshop.write("kubectl", &stage.kubectl.script())?;
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let plugin = beside_us("kubectl-emailasset")?;
        std::os::unix::fs::symlink(plugin, stage.workshop.folder.join("kubectl-emailasset"))?;
        voice.heading("Play on");
        voice.tell("Everything keeps running. Tokens live for ten minutes from now on.");
        voice.gap();
        voice.block(&format!(
            "export KUBECONFIG={}\nexport PATH={}:$PATH      # kubectl for it, and its plugin\n",
            stage.kubectl.kubeconfig.to_string_lossy(),
            stage.workshop.folder.display()
        ));
        voice.gap();
        voice.block(&format!(
            "kubectl get emailasset -n {NAMESPACE} --watch\n\
             kubectl emailasset status {ASSET} -n {NAMESPACE}\n\
             kubectl describe emailasset {ASSET} -n {NAMESPACE}\n\
             kubectl annotate emailasset {ASSET} -n {NAMESPACE} --overwrite emailasset.dev/refresh=\"$(date +%s)\"\n\
             kubectl delete secret {ASSET}-token -n {NAMESPACE}        # comes back\n\
             curl -d '{{\"grantId\":\"{}\"}}' {}/grants/revoke\n\
             tail -f {}",
            sign_in.grant,
            stage.server.admin_url(),
            stage.workshop.log("operator").display()
        ));
        voice.gap();
        voice.tell("To end it: make demo-stop");
        Ok(())
    }

    /// Waits for `what`, and counts the seconds until then for people.
    async fn until_due<T>(&self, due: Option<Timestamp>, what: impl Future<Output = Result<T>>) -> Result<T> {
        let mut what = std::pin::pin!(timeout(PATIENCE, what));
        let mut tick = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                done = &mut what => {
                    self.voice.forget_meanwhile();
                    return done.context("no refresh came")?;
                }
                _ = tick.tick() => {
                    let left = due.map_or(0, |due| due.duration_since(Timestamp::now()).as_secs());
                    if left > 0 {
                        self.voice.meanwhile(&format!("the next refresh is due in {left} s"));
                    } else {
                        self.voice.meanwhile("the next refresh is due");
                    }
                }
            }
        }
    }

    /// When the token of this generation is to be replaced, once the status knows.
    async fn due(&self, generation: u64) -> Result<Option<Timestamp>> {
        let looking = async {
            let mut tick = interval(Duration::from_millis(500));
            loop {
                tick.tick().await;
                let status = &mut self.asset().await?["status"];
                if status["grant"]["generation"].as_u64() >= Some(generation) {
                    let text = status["token"]["renewalTime"].take();
                    return Ok(text.as_str().and_then(|text| text.parse().ok()));
                }
            }
        };
        timeout(PATIENCE, looking).await.context("the status was not written")?
    }

    async fn asset(&self) -> Result<Value> {
        let asset = self.stage.kubectl.json(&["get", "emailasset", ASSET, "-n", NAMESPACE]);
        asset.await
    }

    fn show_conditions(&self, asset: &Value) {
        let mut said: Vec<(&str, &str)> = Vec::new();
        for condition in asset["status"]["conditions"].as_array().into_iter().flatten() {
            let text = |name: &str| condition[name].as_str().unwrap_or_default();
            let (kind, message) = (text("type"), text("message"));
            let same = said.iter().find(|(_, words)| *words == message);
            let words = same.map_or_else(
                || message.to_owned(),
                |(other, _)| format!("(the same words as {other})"),
            );
            self.voice.condition(kind, text("status"), text("reason"), &words);
            said.push((kind, message));
        }
    }

    async fn token(&self) -> Result<String> {
        let template = "go-template={{.data.access_token | base64decode}}";
        let read = ["get", "secret", "support-token", "-n", NAMESPACE, "-o", template];
        self.stage.kubectl.run(&read).await
    }

    async fn annotate(&self, annotation: &str) -> Result<()> {
        let arguments = ["annotate", "emailasset", ASSET, "-n", NAMESPACE, annotation];
        let output = self.stage.kubectl.run(&arguments).await?;
        self.voice.command(&format!("kubectl {}", arguments.join(" ")), &output);
        self.voice.gap();
        Ok(())
    }

    async fn until_condition(&self, wanted: &str) -> Result<()> {
        let condition = format!("--for=condition={wanted}");
        let wait = [
            "wait",
            &condition,
            "emailasset",
            ASSET,
            "-n",
            NAMESPACE,
            "--timeout=90s",
        ];
        self.stage.kubectl.run(&wait).await.map(drop)
    }

    /// Makes a Secret as people do.
    async fn put_secret(&self, name: &str, data: &Value) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"emailasset.dev/hosts": self.stage.server.host}},
            "stringData": data,
        });
        let apply = ["apply", "--server-side", "-f", "-"];
        self.stage
            .kubectl
            .run_with_input(&apply, &secret.to_string())
            .await
            .map(drop)
    }
}

/// What the token Secret says of itself.
struct Published {
    generation: u64,
    expires: String,
}

/// The token Secret, as it changes.
struct Generations(Watch);

impl Generations {
    fn watch(kubectl: &Kubectl) -> Result<Self> {
        let template = r#"go-template={{index .metadata.annotations "emailasset.dev/generation"}} {{index .metadata.annotations "emailasset.dev/expiration-time"}}{{"\n"}}"#;
        let watch = kubectl.watch(&[
            "get",
            "secret",
            "support-token",
            "-n",
            NAMESPACE,
            "--watch",
            "-o",
            template,
        ])?;
        Ok(Self(watch))
    }

    async fn reach(&mut self, wanted: u64) -> Result<Published> {
        while let Some(line) = self.0.next_line().await? {
            let (generation, expires) = line.split_once(' ').unwrap_or((&line, ""));
            let generation = generation.parse().unwrap_or_default();
            if generation >= wanted {
                return Ok(Published {
                    generation,
                    expires: expires.to_owned(),
                });
            }
        }
        bail!("the watch on the token Secret ended")
    }
}

/// The time of day of an RFC 3339 text.
fn clock(text: &str) -> String {
    let moment = text.parse::<Timestamp>().ok();
    moment.map_or_else(|| text.to_owned(), |moment| moment.strftime("%H:%M:%S UTC").to_string())
}

fn manifest(token_url: &str) -> String {
    format!(
        "apiVersion: emailasset.dev/v1alpha1
kind: EmailAsset
metadata:
  name: {ASSET}
  namespace: {NAMESPACE}
spec:
  email: {EMAIL}
  oauth2:
    grant: RefreshToken
    clientCredentialsRef: {{name: oauth-client}}
    refreshTokenSecretRef: {{name: support-seed, key: refresh_token}}
    tokenURL: {token_url}
    rotation: Strict
"
    )
}
