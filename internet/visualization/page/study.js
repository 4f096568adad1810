"use strict";
// A study: trials in an order, and on sides, that the participant's seed draws; answers kept over a reload.
const study = JSON.parse(document.getElementById("study").textContent);
const element = id => document.getElementById(id);
const place = `study: ${study.study} ${study.seed}`;

// Mulberry32: the same numbers for the same seed, everywhere.
const random = seed => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
};

const begin = () => {
  const given = new URLSearchParams(location.search).get("participant");
  const participant = given === null ? Math.floor(Math.random() * 2 ** 31) : Number(given) >>> 0;
  return { study: study.study, seed: study.seed, participant, begun: new Date().toISOString(), answers: {} };
};

const remembered = () => {
  try { return JSON.parse(localStorage.getItem(place)); } catch { return null; }
};
const session = remembered() || begin();
const save = () => {
  try { localStorage.setItem(place, JSON.stringify(session)); } catch { /* a browser that keeps nothing: go on */ }
};

const draw = random((session.participant ^ study.seed) | 0);
const trials = study.trials.map(trial => ({ ...trial }));
for (let last = trials.length - 1; last > 0; last--) {  // Fisher and Yates
  const other = Math.floor(draw() * (last + 1));
  [trials[last], trials[other]] = [trials[other], trials[last]];
}
for (const trial of trials) trial.shown = draw() < 0.5 ? trial.videos : [...trial.videos].reverse();

const choices = [...document.querySelectorAll(".choice")];
const videos = () => [...document.querySelectorAll("#trial video")].filter(video => video.src);
let current = trials.findIndex(trial => !(trial.id in session.answers)), chosen = null, since = 0, replays = 0;
if (current < 0) current = trials.length;

const play = () => { for (const video of videos()) { video.currentTime = 0; video.play().catch(() => {}); } };

const show = () => {
  const over = current >= trials.length, trial = trials[current];
  element("welcome").hidden = true;
  element("trial").hidden = over;
  element("done").hidden = !over;
  if (over) {
    session.finished = session.finished || new Date().toISOString();
    save();
    element("download").href = URL.createObjectURL(new Blob([JSON.stringify(session, null, 1)], { type: "application/json" }));
    element("download").download = `answers-${session.participant}.json`;
    element("download").focus();
    return;
  }
  [chosen, since, replays] = [null, performance.now(), 0];
  element("count").textContent = `${current + 1} of ${trials.length}`;
  element("progress").value = current;
  element("question").textContent = trial.question;
  element("reference").hidden = !trial.driving;
  for (const [id, file] of [["source", trial.source], ["driving", trial.driving]]) {
    if (file) element(id).src = file; else element(id).removeAttribute("src");
  }
  choices.forEach((choice, side) => {
    choice.setAttribute("aria-pressed", "false");
    choice.querySelector("video").src = `videos/${trial.shown[side]}`;
  });
  element("next").disabled = true;
  play();
};

const choose = side => {
  chosen = side;
  choices.forEach((choice, other) => choice.setAttribute("aria-pressed", String(other === side)));
  element("next").disabled = false;
};

const next = () => {
  if (chosen === null) return;
  const trial = trials[current];
  session.answers[trial.id] = {
    video: trial.shown[chosen], side: ["left", "right"][chosen], replays,
    seconds: Math.round((performance.now() - since) / 100) / 10,
  };
  save();
  current += 1;
  show();
};

choices.forEach((choice, side) => choice.addEventListener("click", () => choose(side)));
element("begin").addEventListener("click", () => { save(); show(); });
element("next").addEventListener("click", next);
element("replay").addEventListener("click", () => { replays += 1; play(); });
addEventListener("keydown", event => {
  if (element("trial").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const side = { ArrowLeft: 0, 1: 0, ArrowRight: 1, 2: 1 }[event.key];
  if (side !== undefined) choose(side);
  else if (event.key === "r" || event.key === "R") element("replay").click();
  else if (event.key === "Enter" && chosen !== null) next();
  else return;
  event.preventDefault();
});
if (Object.keys(session.answers).length) show();
