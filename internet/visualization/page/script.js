"use strict";
// A slider shows one of its pictures, and says which.
for (const slider of document.querySelectorAll(".slider")) {
  const input = slider.querySelector("input"), label = slider.querySelector("output");
  const pictures = [...slider.querySelectorAll("img")];
  const show = () => {
    pictures.forEach((picture, index) => { picture.hidden = index !== Number(input.value); });
    label.textContent = pictures[input.value].dataset.label;
    input.setAttribute("aria-valuetext", label.textContent);
  };
  input.addEventListener("input", show);
  show();
}
// Videos play by themselves, unless the reader has asked for less motion.
const still = matchMedia("(prefers-reduced-motion: reduce)");
for (const video of document.querySelectorAll("video")) {
  if (!still.matches) video.play().catch(() => {});  // a browser that forbids it shows the play button
  const source = video.querySelector("source");
  source.addEventListener("error", () => { video.parentElement.querySelector(".unplayable").hidden = false; });
}
