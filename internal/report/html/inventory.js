"use strict";
(function () {
  var field = document.getElementById("search"), shown = document.getElementById("shown");
  var rows = Array.prototype.slice.call(document.querySelectorAll("tbody tr[data-text]"));
  document.getElementById("searching").hidden = false;
  function update() {
    var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach(function (r) {
      var text = r.getAttribute("data-text");
      r.hidden = !words.every(function (w) { return text.indexOf(w) >= 0; });
    });
    count();
  }
  function count() {
    var n = rows.filter(function (r) { return r.offsetParent !== null; }).length;
    shown.textContent = n + " of " + rows.length + " shown";
  }
  field.addEventListener("input", update);
  document.querySelectorAll(".filters input[type=checkbox]").forEach(function (c) { c.addEventListener("change", count); });
  function open() {
    var at = document.getElementById(location.hash.slice(1));
    var d = at && at.querySelector("details");
    if (d) { d.open = true; }
  }
  window.addEventListener("hashchange", open);
  open();
  count();
})();
