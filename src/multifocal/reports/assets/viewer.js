"use strict";

/* One case in NiiVue: a map below, truth and one arm's prediction above. The volumes come from volumes.js. */

(async () => {
  const { Niivue, NVImage } = window.niivue;
  const data = window.multifocalCase;
  const viewer = document.querySelector(".viewer");
  const stage = viewer.querySelector(".stage");
  const form = viewer.querySelector("form");
  const status = viewer.querySelector("[role=status]");
  const slices = Number(viewer.dataset.slices);
  const loaded = new Map();
  const [AUTO, GRID, NARROW] = [0, 2, 640];
  // Bit 1 is the truth, bit 2 the prediction.
  const labels = { R: [0, 76, 255, 47], G: [0, 195, 176, 211], B: [0, 255, 0, 154], A: [0, 255, 255, 255], I: [0, 1, 2, 3], labels: ["", "truth", "prediction", "both"] };

  const nv = new Niivue({
    dragAndDropEnabled: false,
    scrollRequiresFocus: true,
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    multiplanarForceRender: true,
    show3Dcrosshair: true,
    crosshairColor: [0.62, 0.66, 0.7, 1],
    crosshairWidth: 0.25,
    crosshairGap: 5,
    fontColor: [0.75, 0.78, 0.8, 1],
    loadingText: "",
    logLevel: "error",
    onLocationChange: (place) => describe(place),
  });

  async function image(key, base64, options) {
    if (!loaded.has(key)) {
      loaded.set(key, await NVImage.loadFromBase64({ base64, name: `${key}.nii.gz`, trustCalMinMax: false, ...options }));
    }
    return loaded.get(key);
  }

  async function overlay() {
    const arm = data.arms[form.arm.selectedIndex];
    const truth = await image("truth", data.truth);
    const mask = arm && arm.data !== null ? (await image(`arm${form.arm.selectedIndex}`, arm.data)).img : null;
    const both = loaded.get("overlay") ?? truth.clone();
    loaded.set("overlay", both);
    // The page of a scan whose lesions nobody has drawn asks for none.
    const [showTruth, showMask] = [Boolean(form.truth?.checked), form.prediction.checked && mask !== null];
    both.img = truth.img.map((inside, i) => (showTruth && inside ? 1 : 0) + (showMask && mask[i] ? 2 : 0));
    both.opacity = form.opacity.valueAsNumber;
    both.setColormapLabel({ ...labels });
    return both;
  }

  async function show() {
    const map = data.maps[Number(form.map.value)];
    const below = await image(`map${form.map.value}`, map.data, { colormap: "gray", cal_min: map.low, cal_max: map.high });
    const place = [...nv.scene.crosshairPos];
    nv.volumes = [below, await overlay()];
    [nv.back, ...nv.overlays] = nv.volumes;
    nv.updateGLVolume();
    nv.scene.crosshairPos = place;
    nv.drawScene();
    nv.createOnLocationChange();
  }

  function describe(place) {
    if (!place.vox) return;
    form.slice.value = String(place.vox[2]);
    const map = data.maps[Number(form.map.value)];
    const [value, label] = place.values.map((each) => each.value);
    const [x, y, z] = place.mm;
    const where = `slice ${place.vox[2] + 1} of ${slices} · ${side(x, "R", "L")} ${side(y, "A", "P")} ${side(z, "S", "I")} mm`;
    const what = value > map.outside + map.step ? `${map.name} ${Number(value.toPrecision(4))}` : "outside the brain";
    status.textContent = [where, what, labels.labels[label]].filter(Boolean).join(" · ");
  }

  // NIfTI's axes point to the right, the front and the top.
  function side(value, plus, minus) {
    return `${value < 0 ? minus : plus} ${Math.abs(value).toFixed(1)}`;
  }

  function turn() {
    const views = {
      multiplanar: nv.sliceTypeMultiplanar,
      axial: nv.sliceTypeAxial,
      coronal: nv.sliceTypeCoronal,
      sagittal: nv.sliceTypeSagittal,
      render: nv.sliceTypeRender,
    };
    stage.classList.toggle("one", form.view.value !== "multiplanar");
    nv.opts.multiplanarLayout = stage.clientWidth < NARROW ? GRID : AUTO;
    nv.setSliceType(views[form.view.value]);
  }

  function changed(event) {
    if (event.target.name === "view") {
      turn();
    } else if (event.target.name === "slice") {
      const [x, y] = nv.scene.crosshairPos;
      nv.scene.crosshairPos = [x, y, (form.slice.valueAsNumber + 0.5) / slices];
      nv.drawScene();
      nv.createOnLocationChange();
    } else {
      show();
    }
  }

  try {
    await nv.attachToCanvas(viewer.querySelector("canvas"));
    const first = [...form.arm.options].findIndex((option) => !option.disabled);
    form.arm.selectedIndex = Math.max(first, 0);
    const [left, back, up] = data.start;
    nv.scene.crosshairPos = [1 - left, 1 - back, up];
    await show();
    turn();
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", changed);
    window.addEventListener("resize", turn);
    viewer.dataset.ready = "true";
  } catch (error) {
    status.textContent = `The viewer cannot start in this browser (${error.message}); it needs WebGL 2. The pictures below need nothing.`;
    stage.hidden = true;
    viewer.dataset.ready = "failed";
  }
})();
