"""Colours, fonts and the few rules of style and script that Gradio's own lack."""

from __future__ import annotations

import gradio as gr

FONTS = ("system-ui", "sans-serif")
"""The machine's own: nothing is fetched, and text looks as elsewhere on it."""
HUE = gr.themes.colors.indigo
COLORS = {
    "block_label_text_color": HUE.c800, "block_title_text_color": HUE.c800, "block_info_text_color": "#4b5563",
    "block_label_text_color_dark": "#ffffff", "block_title_text_color_dark": "#ffffff",
    "block_label_background_fill_dark": HUE.c700, "block_title_background_fill_dark": HUE.c700,
    "block_info_text_color_dark": "#d1d5db", "body_text_color_subdued": "#4b5563",
    "body_text_color_subdued_dark": "#d1d5db", "link_text_color": HUE.c700, "link_text_color_dark": HUE.c300,
    "button_primary_background_fill": HUE.c600, "button_primary_background_fill_hover": HUE.c700,
    "button_primary_background_fill_dark": HUE.c600, "button_primary_background_fill_hover_dark": HUE.c700,
    "button_primary_text_color": "#ffffff", "button_primary_text_color_dark": "#ffffff",
    "input_placeholder_color": "#6b7280", "input_placeholder_color_dark": "#d1d5db",
    "checkbox_label_text_color_selected": "#ffffff", "checkbox_label_text_color_selected_dark": "#ffffff",
    "checkbox_label_background_fill_selected": HUE.c600, "checkbox_label_background_fill_selected_dark": HUE.c700,
}  # fmt: skip
"""Texts have a contrast of 4.5 : 1 to what is behind them, at least (WCAG 2.1, AA)."""
CSS = """
.note { padding: 10px 14px; border-radius: 8px; overflow-wrap: anywhere; white-space: pre-wrap; }
.note.said { background: #e0e7ff; color: #1e1b4b; }
.note.busy { background: #f3f4f6; color: #1f2937; }
.note.refused { background: #fee2e2; color: #7f1d1d; border-left: 4px solid #b91c1c; }
.note progress { width: 40%; height: 12px; margin-right: 8px; accent-color: #4f46e5; vertical-align: middle; }
label[data-testid="block-label"], .block > label.float { position: static !important; width: fit-content; }
.wrap.hide { display: none !important; }
.turned img {
  width: 100%; height: calc(100% - 64px); object-fit: contain;  /* the label and the buttons above it take the rest */
  cursor: grab; touch-action: pan-y; user-select: none; -webkit-user-drag: none;
}
.turned img:active { cursor: grabbing; }
.gradio-container time, .gradio-container .playback { color: #4b5563 !important; }
.dark .gradio-container time, .dark .gradio-container .playback,
.gradio-container.dark time, .gradio-container.dark .playback { color: #d1d5db !important; }
[role="tab"][aria-selected="true"] { color: #4338ca !important; }
.dark [role="tab"][aria-selected="true"] { color: #a5b4fc !important; }
button.icon-button input[type="file"] { display: none; }
.intro p { max-width: 75ch; }
@media (max-width: 640px) {
  .gradio-container [role="tablist"] button { padding: 6px 7px; font-size: 13px; }
  .gradio-container { padding: 8px !important; }
}
"""
SCRIPT = """
() => {
  // The thumbnails of examples have no names of their own.
  const name = () => document.querySelectorAll('button.gallery-item:not([aria-label])').forEach(button => {
    const source = button.querySelector('img')?.src;
    if (source) button.ariaLabel = 'Example ' + decodeURIComponent(source.split('/').pop()).replace(/[.]\\w+$/, '');
  });
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
  name();
  // Dragging a picture of an object turns it: its tab's sliders of azimuth and elevation follow the pointer.
  const set = (input, value, kind) => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, value);
    input.dispatchEvent(new Event(kind, {bubbles: true}));
  };
  const sliders = image => ['azimuth', 'elevation'].map(name => {
    const all = [...document.querySelectorAll(`.${name} input[type=range]`)];
    return all.find(one => one.offsetParent !== null);
  });
  let held = null;
  document.addEventListener('pointerdown', event => {
    const image = event.target.closest?.('.turned img');
    if (!image || event.button) return;
    const [azimuth, elevation] = sliders(image);
    if (!azimuth || !elevation) return;
    event.preventDefault();
    held = {x: event.clientX, y: event.clientY, azimuth, elevation, a: +azimuth.value, e: +elevation.value};
  });
  document.addEventListener('pointermove', event => {
    if (!held) return;
    const a = Math.round(((held.a - (event.clientX - held.x) * 0.75) % 360 + 360) % 360);
    const low = +held.elevation.min, high = +held.elevation.max;
    const e = Math.round(Math.min(high, Math.max(low, held.e + (event.clientY - held.y) * 0.4)));
    if (a !== +held.azimuth.value) set(held.azimuth, Math.min(a, +held.azimuth.max), 'input');
    if (e !== +held.elevation.value) set(held.elevation, e, 'input');
  });
  document.addEventListener('pointerup', () => {
    const turned = held;
    held = null;  // the slider's own event comes by here too
    if (turned) turned.azimuth.dispatchEvent(new PointerEvent('pointerup', {bubbles: true}));
  });
}
"""


def theme() -> gr.themes.Base:
    """The app's theme."""
    return gr.themes.Soft(font=FONTS, font_mono=("ui-monospace", "monospace"), primary_hue=HUE).set(**COLORS)
