// Outcomes for ears, hands and the corner of the eye: each of the three differs from the others in every sense.

let audio = null;

// [start in s, length in s, frequency in Hz, waveform]
const SOUNDS = {
  ok: [[0, 0.09, 1320, "sine"], [0.09, 0.14, 1760, "sine"]],
  reject: [[0, 0.22, 160, "sawtooth"], [0.28, 0.34, 120, "sawtooth"]],
  duplicate: [[0, 0.08, 620, "triangle"], [0.14, 0.08, 620, "triangle"], [0.28, 0.08, 620, "triangle"]],
};
// Milliseconds on, off, on …
const BUZZES = { ok: [60], reject: [350, 120, 350], duplicate: [70, 70, 70, 70, 70] };
const LOUDNESS = 0.35;

/** Beeps, vibrates and pulses once. */
export function signal(outcome, element) {
  beep(SOUNDS[outcome]);
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(BUZZES[outcome]);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    element.animate([{ transform: "scale(0.975)", filter: "brightness(1.35)" }, { transform: "none", filter: "none" }],
      { duration: 180, easing: "ease-out" });
  }
}

function beep(notes) {
  if (audio?.state !== "running") return;
  for (const [start, length, frequency, type] of notes) {
    const oscillator = new OscillatorNode(audio, { frequency, type });
    const from = audio.currentTime + start;
    const gain = new GainNode(audio, { gain: 0 });
    gain.gain.setValueAtTime(0, from);
    gain.gain.linearRampToValueAtTime(LOUDNESS, from + 0.008); // without the ramps it clicks
    gain.gain.setValueAtTime(LOUDNESS, from + length - 0.02);
    gain.gain.linearRampToValueAtTime(0, from + length);
    oscillator.connect(gain).connect(audio.destination);
    oscillator.start(from);
    oscillator.stop(from + length);
  }
}

/** Browsers let a page be heard only after it was touched: the button shows until it is. */
export function offerSound(button) {
  audio = new AudioContext();
  const update = () => { button.hidden = audio.state === "running"; };
  audio.addEventListener("statechange", update);
  document.addEventListener("pointerdown", () => audio.resume(), { capture: true });
  button.addEventListener("click", () => audio.resume());
  update();
}
