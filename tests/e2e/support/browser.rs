//! A person's browser: headless Chromium, driven through chromedriver.
//!
//! One chromedriver serves the whole test binary; each [`Browser`] is a Chromium of its own with a fresh profile, so no two share a cookie. Nothing leaves the
//! machine: every name but `localhost` is made unknown to it. It trusts the server key of [`Certificates::shared`] and no other beside the usual ones.
//!
//! No process outlives the test: chromedriver dies with the thread that keeps it, each Chromium with chromedriver or with its [`Browser`], whichever goes first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::certificates::Certificates;
use super::run::{random_suffix, run_directory};
use super::wait::until;

/// How long a page may take to show what a test looks for.
const LIMIT: Duration = Duration::from_secs(60);

/// So many browsers at a time: each wants 200 MB and a core to start.
static PLACES: Semaphore = Semaphore::const_new(3);

/// The widths, in CSS pixels, that pages are looked at: a phone and a desk.
const WIDTHS: [u32; 2] = [360, 1280];

/// A browser with a fresh profile. It ends with this value.
pub(crate) struct Browser {
    client: Client,
    process: Pid,
    /// None: it is beside another one of the same test, which has a place.
    _place: Option<SemaphorePermit<'static>>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The process of this id is ours as long as chromedriver has not waited for it, which it does when the session is closed: never before this.
        let _ = kill(self.process, Signal::SIGKILL);
    }
}

impl Browser {
    /// Opens a browser on an empty page. A test that has one already opens the next by [`Browser::beside`].
    pub(crate) async fn open() -> Self {
        let place = PLACES.acquire().await.expect("the places are never closed");
        Self::start(Some(place)).await
    }

    /// Opens one more, another person's: tests that each waited for a second place would wait for each other for ever.
    pub(crate) async fn beside(&self) -> Self {
        Self::start(None).await
    }

    async fn start(place: Option<SemaphorePermit<'static>>) -> Self {
        let profile = run_directory().join(format!("browser-{}", random_suffix()));
        let arguments = [
            "--headless=new".to_owned(),
            // It will not start as root otherwise, which CI is.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost".to_owned(),
            "--proxy-server=direct://".to_owned(),
            format!("--user-data-dir={}", profile.display()),
            format!(
                "--ignore-certificate-errors-spki-list={}",
                Certificates::shared().key_fingerprint
            ),
        ];
        let wishes = json!({"goog:chromeOptions": {"binary": wrapper(), "args": arguments}});
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(serde_json::from_value(wishes).expect("capabilities are an object"))
            .connect(driver())
            .await
            .expect("chromedriver opens a browser");
        let process = client
            .capabilities()
            .and_then(|capabilities| capabilities.get("goog:processID")?.as_i64())
            .and_then(|id| i32::try_from(id).ok())
            .expect("chromedriver tells the id of the browser's process");
        Self {
            client,
            process: Pid::from_raw(process),
            _place: place,
        }
    }

    /// The id of the browser's first process.
    pub(crate) fn process(&self) -> i32 {
        self.process.as_raw()
    }

    /// `WebDriver` itself, for what has no name here.
    pub(crate) fn driver(&self) -> &Client {
        &self.client
    }

    /// Opens an address, and waits until the page is there.
    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("a page can be opened");
    }

    /// The back button.
    pub(crate) async fn back(&self) {
        self.client.back().await.expect("there is a page to go back to");
    }

    /// The reload button.
    pub(crate) async fn reload(&self) {
        self.client.refresh().await.expect("a page can be loaded again");
    }

    /// What stands in the address bar.
    pub(crate) async fn url(&self) -> Url {
        self.client.current_url().await.expect("a page has an address")
    }

    /// What a person sees to read.
    pub(crate) async fn text(&self) -> String {
        self.find("body").await.text().await.expect("a page has text")
    }

    async fn text_now(&self) -> String {
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until a person would see this text, in whatever case, and returns all that is to be seen.
    pub(crate) async fn wait_for_text(&self, wanted: &str) -> String {
        let lower = wanted.to_lowercase();
        let waiting = async {
            let mut pause = tokio::time::interval(Duration::from_millis(50));
            loop {
                pause.tick().await;
                // While a page changes to the next one, there may be no body or a dead one.
                let text = self.text_now().await;
                if text.to_lowercase().contains(&lower) {
                    return text;
                }
            }
        };
        let Ok(text) = tokio::time::timeout(LIMIT, waiting).await else {
            let (url, text) = (self.url().await, self.text().await);
            panic!("{wanted:?} is not to be seen at {url}, but: {text}");
        };
        text
    }

    /// Waits until the address begins like this.
    pub(crate) async fn wait_for_url(&self, beginning: &str) -> Url {
        let waiting = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            loop {
                pause.tick().await;
                if let Ok(url) = self.client.current_url().await
                    && url.as_str().starts_with(beginning)
                {
                    return url;
                }
            }
        };
        let Ok(url) = tokio::time::timeout(LIMIT, waiting).await else {
            let (url, text) = (self.url().await, self.text().await);
            panic!("the browser is not at {beginning} but at {url}: {text}");
        };
        url
    }

    /// Waits for an element.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(LIMIT).for_element(Locator::Css(css)).await;
        let Ok(element) = found else {
            panic!("no {css} at {}: {}", self.url().await, self.text_now().await);
        };
        element
    }

    /// Whether there is such an element now.
    pub(crate) async fn has(&self, css: &str) -> bool {
        let found = self.client.find_all(Locator::Css(css)).await;
        found.is_ok_and(|found| !found.is_empty())
    }

    /// Clicks an element once it is there.
    pub(crate) async fn click(&self, css: &str) {
        let element = self.find(css).await;
        element.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Writes into a field, over what stood there.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.expect("a field can be cleared");
        field.send_keys(text).await.expect("a field can be written into");
    }

    /// A second tab, which is looked at from now on.
    pub(crate) async fn open_tab(&self) -> Tab {
        let tab = self.client.new_window(true).await.expect("a tab can be opened");
        let before = self.tab().await;
        self.client
            .switch_to_window(tab.handle)
            .await
            .expect("the new tab is there");
        before
    }

    /// The tab that is looked at.
    pub(crate) async fn tab(&self) -> Tab {
        Tab(self.client.window().await.expect("a tab is open"))
    }

    /// Looks at another tab.
    pub(crate) async fn switch_to(&self, tab: &Tab) {
        self.client
            .switch_to_window(tab.0.clone())
            .await
            .expect("the tab is there");
    }

    /// Takes the page's picture at 360 and 1280 px width, into `target/screenshots/<name>-<width>.png`, and asserts that nothing has to be scrolled sideways.
    pub(crate) async fn screenshot(&self, name: &str) {
        for width in WIDTHS {
            let needed = self.picture_at(name, width).await;
            assert!(
                needed <= u64::from(width),
                "{name} is {needed} px wide on a screen of {width} px"
            );
        }
        self.cdp("Emulation.clearDeviceMetricsOverride", json!({})).await;
    }

    /// The same for a page that is not ours, however wide it is.
    pub(crate) async fn screenshot_of_others(&self, name: &str) {
        for width in WIDTHS {
            self.picture_at(name, width).await;
        }
        self.cdp("Emulation.clearDeviceMetricsOverride", json!({})).await;
    }

    async fn picture_at(&self, name: &str, width: u32) -> u64 {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
        let script = "return document.documentElement.scrollWidth";
        let needed = self.client.execute(script, Vec::new()).await.expect("a width");
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.cdp("Page.captureScreenshot", whole).await;
        let picture = picture["data"].as_str().expect("a picture");
        let picture = STANDARD.decode(picture).expect("base64");
        fs::write(screenshots().join(format!("{name}-{width}.png")), picture).expect("a picture can be kept");
        needed.as_u64().expect("a number")
    }

    /// Closes the browser as a person does. Without this it is killed, which is as good for most tests.
    pub(crate) async fn close(self) {
        let _ = self.client.clone().close().await;
    }

    async fn cdp(&self, command: &str, parameters: Value) -> Value {
        let command = Cdp(json!({"cmd": command, "params": parameters}));
        self.client
            .issue_cmd(command)
            .await
            .expect("Chromium knows the command")
    }
}

/// The pages of the authorization server of the tests.
impl Browser {
    /// Logs in at the authorization server's page, whomever it proposes, and waits for the consent page.
    pub(crate) async fn sign_in_as(&self, account: &str) {
        self.log_in_as(account).await;
        self.find("input[name=prompt][value=consent]").await;
    }

    /// Logs in at the authorization server's page without a look at what comes then.
    pub(crate) async fn log_in_as(&self, account: &str) {
        self.fill("input[name=login]", account).await;
        self.fill("input[name=password]", "any").await;
        self.click("button[type=submit]").await;
    }

    /// Consents on the consent page.
    pub(crate) async fn consent(&self) {
        self.find("input[name=prompt][value=consent]").await;
        self.click("button[type=submit]").await;
    }

    /// Says no, on the login or the consent page.
    pub(crate) async fn cancel(&self) {
        self.click(".login-help a").await;
    }

    /// Enters a device code at the page that the server names for it, up to the login page.
    pub(crate) async fn enter_device_code(&self, verification_url: &str, user_code: &str) {
        self.type_device_code(verification_url, user_code).await;
        self.click("button[autofocus]").await;
    }

    /// Enters a device code and then says that one did not ask for it.
    pub(crate) async fn decline_device_code(&self, verification_url: &str, user_code: &str) {
        self.type_device_code(verification_url, user_code).await;
        self.click("button[name=abort]").await;
        // A browser that ends now would take its word along.
        until("the server has taken the no", || async {
            (!self.has("input[name=confirm]").await).then_some(())
        })
        .await;
    }

    async fn type_device_code(&self, verification_url: &str, user_code: &str) {
        self.goto(verification_url).await;
        self.fill("input[name=user_code]", user_code).await;
        self.click("button[type=submit]").await;
        self.find("input[name=confirm]").await;
    }
}

/// A tab of a browser.
#[derive(Debug, Clone)]
pub(crate) struct Tab(fantoccini::wd::WindowHandle);

/// A command of the Chrome `DevTools` Protocol, by chromedriver's own door.
#[derive(Debug)]
struct Cdp(Value);

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.0.to_string()))
    }
}

/// Where pictures go; CI keeps them.
fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    fs::create_dir_all(&folder).expect("a folder can be made in target");
    folder
}

/// chromedriver's address. It is started at the first call.
fn driver() -> &'static str {
    static DRIVER: OnceLock<String> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        // The kernel kills chromedriver with the thread that started it, so this one stays.
        std::thread::spawn(move || keep_driver(&sender));
        let port: u16 = receiver.recv().expect("chromedriver starts; its own words are above");
        format!("http://127.0.0.1:{port}")
    })
}

fn keep_driver(tell: &mpsc::Sender<u16>) {
    let log = fs::File::create(run_directory().join("chromedriver.log")).expect("a log can be made");
    let mut process = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "chromedriver", "--port=0"])
        // Chromium keeps settings and caches at home.
        .env("HOME", run_directory())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("setpriv (util-linux) starts chromedriver");
    let output = process.stdout.take().expect("standard output is piped");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // "ChromeDriver was started successfully on port 41234."
        let port = line.strip_prefix("ChromeDriver was started successfully on port ");
        if let Some(port) = port.and_then(|port| port.trim_end_matches('.').parse().ok()) {
            let _ = tell.send(port);
        }
    }
    let ended = process.wait();
    panic!(
        "chromedriver ended ({ended:?}); it and chromium are installed by `make setup`; see chromedriver.log in the run's folder"
    );
}

/// A program that becomes Chromium and dies with chromedriver.
fn wrapper() -> &'static Path {
    static WRAPPER: OnceLock<PathBuf> = OnceLock::new();
    WRAPPER.get_or_init(|| {
        let path = run_directory().join("chromium");
        fs::write(&path, "#!/bin/sh\nexec setpriv --pdeathsig KILL -- chromium \"$@\"\n").expect("a file can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file can be made a program");
        path
    })
}
