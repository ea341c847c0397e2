//! What can be seen to be wrong with a page without reading it: text that is hard to read, targets too small for a
//! thumb, fields and buttons without a name, pages wider than the window.

use super::{Browser, BrowserError};

/// Returns a list of mistakes, each in words, for the page as it stands.
pub const LOOK_MISTAKES: &str = r#"
const mistakes = [];
const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getClientRects().length > 0;
const clipped = (e) => { const c = getComputedStyle(e); return c.clipPath !== "none" || (e.parentElement && clipped(e.parentElement)); };
const channels = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
const light = (colour) => {
  const [r, g, b] = channels(colour).slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (e) => {
  for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor, [,,, a = 1] = channels(c); if (a > 0.99) return c; }
  return "rgb(255, 255, 255)";
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode()); ) {
  const e = node.parentElement;
  if (!node.textContent.trim() || !shown(e) || clipped(e) || e.closest(":disabled")) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) mistakes.push(`contrast ${ratio.toFixed(2)} of "${node.textContent.trim().slice(0, 40)}"`);
}
if (document.documentElement.scrollWidth > innerWidth) mistakes.push(`${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`);
for (const e of document.querySelectorAll("button, input:not([type=hidden]), textarea, summary, nav a, .row, .automation")) {
  if (!shown(e) || clipped(e)) continue;
  const { width, height } = e.getBoundingClientRect();
  if (innerWidth < 640 && a_target(e) && Math.min(height, Math.max(width, height)) < 44) mistakes.push(`a target ${Math.round(width)} by ${Math.round(height)}: ${e.outerHTML.slice(0, 60)}`);
  const name = (e.labels && [...e.labels].map((l) => l.textContent).join("")) || e.getAttribute("aria-label") || e.textContent;
  if (!name.trim()) mistakes.push(`without a name: ${e.outerHTML.slice(0, 60)}`);
}
function a_target(e) { return e.matches("a, button, input, textarea, summary"); }
for (const e of document.querySelectorAll("svg:not([aria-hidden=true]):not([role=img])")) mistakes.push(`a drawing that is read aloud: ${e.outerHTML.slice(0, 60)}`);
if (document.querySelectorAll("h1").length !== 1) mistakes.push(`${document.querySelectorAll("h1").length} titles`);
return mistakes;
"#;

/// Returns what is wrong with the page as it stands.
///
/// # Errors
/// Returns the browser's.
pub fn mistakes(browser: &Browser) -> Result<Vec<String>, BrowserError> {
    let found = browser.eval(LOOK_MISTAKES)?;
    let words = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(found.as_array().into_iter().flatten().map(words).collect())
}
