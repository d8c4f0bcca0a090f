import { mount } from "svelte";
import App from "./App.svelte";
import "./css/order.css";
import "./css/tokens.css";
import "./css/base.css";
import "./css/frame.css";
import "./css/parts.css";
import "./css/detail.css";
import "./css/gateway.css";
import "./css/narrow.css";

const root = document.getElementById("app");
if (root) mount(App, { target: root });
