"use strict";

/* One case in NiiVue: a map below, truth and one arm's prediction above. The volumes come from volumes.js. */

(async () => {
  const { Niivue, NVImage } = window.niivue;
  const data = window.multifocalCase;
  const viewer = document.querySelector(".viewer");
  const form = viewer.querySelector("form");
  const status = viewer.querySelector("[role=status]");
  const slices = Number(viewer.dataset.slices);
  const loaded = new Map();
  const [AUTO, GRID, NARROW] = [0, 2, 640];

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

  async function show() {
    const opacity = form.opacity.valueAsNumber;
    const map = data.maps[Number(form.map.value)];
    const arm = data.arms[Number(form.arm.value)];
    const wanted = [await image(`map${form.map.value}`, map.data, { colormap: "gray", cal_min: map.low, cal_max: map.high })];
    if (form.truth.checked) {
      wanted.push(await image("truth", data.truth, { colormap: "truth", cal_min: 0, cal_max: 1 }));
    }
    if (form.prediction.checked && arm !== undefined && arm.data !== null) {
      wanted.push(await image(`arm${form.arm.value}`, arm.data, { colormap: "prediction", cal_min: 0, cal_max: 1 }));
    }
    wanted.slice(1).forEach((overlay) => { overlay.opacity = opacity; });
    const place = [...nv.scene.crosshairPos];
    nv.volumes = wanted;
    [nv.back, ...nv.overlays] = wanted;
    nv.updateGLVolume();
    nv.scene.crosshairPos = place;
    nv.drawScene();
  }

  function describe(place) {
    if (!place.vox) return;
    form.slice.value = String(place.vox[2]);
    const [x, y, z] = place.mm;
    const value = place.values[0] === undefined ? "" : `, ${data.maps[Number(form.map.value)].name} ${place.values[0].value.toPrecision(4)}`;
    status.textContent = `slice ${place.vox[2] + 1} of ${slices}; ${side(x, "R", "L")} ${side(y, "A", "P")} ${side(z, "S", "I")} mm${value}`;
  }

  // NIfTI's axes point to the right, the front and the top.
  function side(value, plus, minus) {
    return `${value < 0 ? minus : plus} ${Math.abs(value).toFixed(1)}`;
  }

  function turn() {
    const stage = viewer.querySelector(".stage");
    stage.classList.toggle("one", form.view.value !== "multiplanar");
    nv.opts.multiplanarLayout = stage.clientWidth < NARROW ? GRID : AUTO;
    const views = {
      multiplanar: nv.sliceTypeMultiplanar,
      axial: nv.sliceTypeAxial,
      coronal: nv.sliceTypeCoronal,
      sagittal: nv.sliceTypeSagittal,
      render: nv.sliceTypeRender,
    };
    nv.setSliceType(views[form.view.value]);
  }

  try {
    await nv.attachToCanvas(viewer.querySelector("canvas"));
    nv.addColormap("truth", colours(0x4c, 0xc3, 0xff));
    nv.addColormap("prediction", colours(0xff, 0xb0, 0x00));
    const chosen = [...form.arm.options].findIndex((option) => !option.disabled);
    if (chosen >= 0) form.arm.selectedIndex = chosen;
    const [left, back, up] = data.start;
    await show();
    nv.scene.crosshairPos = [1 - left, 1 - back, up];
    turn();
    nv.createOnLocationChange();
    viewer.dataset.ready = "true";
  } catch (error) {
    status.textContent = `The viewer cannot start in this browser (${error.message}); it needs WebGL 2. The pictures below need nothing.`;
    viewer.querySelector(".stage").hidden = true;
    viewer.dataset.ready = "failed";
    return;
  }

  window.addEventListener("resize", turn);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name === "view") turn();
    else if (event.target.name === "slice") {
      nv.scene.crosshairPos = [nv.scene.crosshairPos[0], nv.scene.crosshairPos[1], (form.slice.valueAsNumber + 0.5) / slices];
      nv.drawScene();
      nv.createOnLocationChange();
    } else show().then(() => nv.createOnLocationChange());
  });

  function colours(r, g, b) {
    return { R: [0, r], G: [0, g], B: [0, b], A: [0, 255], I: [0, 255] };
  }
})();
