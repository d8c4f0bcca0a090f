package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
)

// maxPush is the size of the largest list of files that is taken, some 100,000.
const maxPush = 16 << 20

// routes is the whole surface of the API.
func (s *service) routes(h huma.API, mux *http.ServeMux) {
	do := func(method, id, path, summary, tag string) huma.Operation {
		// Bodies have deadlines of their own; see pace.
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary, Tags: []string{tag}, BodyReadTimeout: -1}
	}
	get := func(id, path, summary, tag string) huma.Operation { return do(http.MethodGet, id, path, summary, tag) }
	bundle := func(op huma.Operation) huma.Operation {
		op.MaxBodyBytes, op.SkipValidateBody = registry.MaxBundle, true // it is read strictly where it is known what it is
		return op
	}
	large := func(op huma.Operation) huma.Operation {
		op.MaxBodyBytes = maxPush
		return op
	}
	document := func(op huma.Operation) huma.Operation {
		op.MaxBodyBytes, op.SkipValidateBody = maxPush, true // it is read where its form is known
		return op
	}
	open := func(op huma.Operation) huma.Operation {
		op.Security = []map[string][]string{}
		return op
	}

	huma.Register(h, open(get("health", "/health", "The process answers", "platform")), s.health)
	huma.Register(h, open(do(http.MethodPost, "begin-session", "/session", "Sign in with an access key or a one-time link", "platform")), s.beginSession)
	huma.Register(h, open(get("login-ways", "/login", "How people sign in besides keys and links", "platform")), s.loginWays)
	huma.Register(h, do(http.MethodDelete, "end-session", "/session", "Sign out", "platform"), s.endSession)
	huma.Register(h, get("me", "/me", "Who is asking, and with which roles", "platform"), s.me)
	huma.Register(h, get("posture", "/posture", "The numbers of the first page", "platform"), s.posture)
	huma.Register(h, get("search", "/search", "Find models, artifacts and rules by name or digest", "platform"), s.search)
	huma.Register(h, get("list-routes", "/gateway/routes", "Gateway routes and whether they are open", "gateway"), s.listRoutes)
	huma.Register(h, do(http.MethodPost, "add-route", "/gateway/routes", "Add a route at run time", "gateway"), s.addRoute)
	huma.Register(h, get("get-route", "/gateway/routes/{name}", "A route that was added at run time", "gateway"), s.getRoute)
	huma.Register(h, do(http.MethodPatch, "set-route", "/gateway/routes/{name}", "Change, disable or enable such a route", "gateway"), s.setRoute)
	huma.Register(h, do(http.MethodDelete, "remove-route", "/gateway/routes/{name}", "Remove such a route", "gateway"), s.removeRoute)
	huma.Register(h, get("list-exchanges", "/gateway/exchanges", "Exchanges at the gateways, newest first, without what was said", "gateway"), s.listExchanges)
	huma.Register(h, get("get-exchange", "/gateway/exchanges/{id}", "Records of one exchange, and their proof", "gateway"), s.getExchange)
	huma.Register(h, get("get-content", "/gateway/exchanges/{id}/content", "What an exchange said, where its route keeps it", "gateway"), s.content)
	huma.Register(h, get("get-use", "/gateway/use", "What routes, callers and models used, with its cost", "gateway"), s.getUse)
	huma.Register(h, get("list-limits", "/gateway/limits", "What callers used of their limits, the fullest first", "gateway"), s.listLimits)
	huma.Register(h, get("get-traffic", "/gateway/traffic", "The last hour, minute by minute", "gateway"), s.getTraffic)
	huma.Register(h, do(http.MethodPost, "load-demo", "/demo", "Fill the platform with demo data", "platform"), s.loadDemo)
	huma.Register(h, do(http.MethodDelete, "remove-demo", "/demo", "Remove all demo data", "platform"), s.removeDemo)

	huma.Register(h, get("list-models", "/models", "Models by name, each with its newest version", "registry"), s.listModels)
	huma.Register(h, get("list-versions", "/models/{namespace}/{model}/versions", "Versions of a model, newest first", "registry"), s.listVersions)
	huma.Register(h, get("list-all-versions", "/versions", "Versions of all models, newest first", "registry"), s.listAllVersions)
	huma.Register(h, get("find", "/find", "What a digest, model or model@number means", "registry"), s.find)
	huma.Register(h, large(do(http.MethodPost, "push", "/artifacts", "Register uploaded files as a new version", "registry")), s.push)
	huma.Register(h, get("get-artifact", "/artifacts/{digest}", "State of an artifact, with its files, names, origins and takers", "registry"), s.getArtifact)
	huma.Register(h, get("list-artifact-findings", "/artifacts/{digest}/findings", "Findings of the last scan, worst first", "registry"), s.artifactFindings)
	huma.Register(h, get("get-structure", "/artifacts/{digest}/structure", "What is inside a file: members, tensors, operators, opcodes, bytes of findings", "registry"), s.structure)
	huma.Register(h, get("list-statements", "/artifacts/{digest}/statements", "Signed statements about an artifact, and whether they count", "registry"), s.statements)
	huma.Register(h, bundle(do(http.MethodPost, "attach-statement", "/artifacts/{digest}/statements", "Attach a signed statement about an artifact", "registry")), s.attach)
	huma.Register(h, get("list-decisions", "/artifacts/{digest}/decisions", "Decisions about an artifact, newest first", "registry"), s.decisions)
	huma.Register(h, get("list-takers", "/artifacts/{digest}/blast", "What comes from an artifact and who took any of it", "registry"), s.blast)
	huma.Register(h, do(http.MethodPost, "quarantine", "/artifacts/{digest}/quarantine", "Refuse an artifact at every enforcement point", "registry"), s.quarantine)
	huma.Register(h, do(http.MethodPost, "release", "/artifacts/{digest}/release", "End a quarantine", "registry"), s.release)
	huma.Register(h, do(http.MethodPost, "rescan", "/artifacts/{digest}/rescan", "Scan an artifact again", "registry"), s.rescan)

	huma.Register(h, get("list-jobs", "/jobs", "Scans that wait, run or ended, the last changed first", "registry"), s.listJobs)
	huma.Register(h, get("get-job", "/jobs/{digest}", "The last scan of an artifact that was wanted", "registry"), s.getJob)
	huma.Register(h, do(http.MethodPost, "retry-job", "/jobs/{digest}/retry", "Scan again what ended", "registry"), s.retryJob)
	huma.Register(h, do(http.MethodPost, "cancel-job", "/jobs/{digest}/cancel", "Take back a scan that waits or runs", "registry"), s.cancelJob)

	huma.Register(h, get("list-stages", "/models/{namespace}/{model}/history", "Where the versions of a model were, oldest first", "registry"), s.history)
	huma.Register(h, get("get-promotion", "/models/{namespace}/{model}/versions/{number}/promotion", "What a promotion needs, and whether it has it", "registry"), s.promotion)
	huma.Register(h, do(http.MethodPost, "promote", "/models/{namespace}/{model}/versions/{number}/promote", "Move a version to another stage", "registry"), s.promote)
	huma.Register(h, do(http.MethodPost, "approve", "/models/{namespace}/{model}/versions/{number}/approvals", "Approve a promotion, or take an approval back", "registry"), s.approve)
	huma.Register(h, get("explain", "/explain", "A past decision: what allowed or denied it, and from what", "registry"), s.explain)

	huma.Register(h, get("list-policies", "/policies", "Versions of the policy set", "policies"), s.listPolicies)
	huma.Register(h, get("get-policy", "/policies/{version}", "Text of a version of the policy set", "policies"), s.getPolicy)
	huma.Register(h, large(do(http.MethodPost, "propose-policy", "/policies", "Propose a policy set, for another administrator to apply", "policies")), s.propose)
	huma.Register(h, do(http.MethodPost, "apply-policy", "/policies/{version}/apply", "Make a proposed policy set hold", "policies"), s.apply)
	huma.Register(h, large(do(http.MethodPost, "simulate-policy", "/policies/simulate", "What a draft would decide otherwise", "policies")), s.simulate)

	huma.Register(h, get("get-trust", "/trust", "Who is trusted to say what about which models", "trust"), s.getTrust)
	huma.Register(h, do(http.MethodPost, "add-trust", "/trust", "Trust one more signer", "trust"), s.addTrust)
	huma.Register(h, do(http.MethodPost, "revoke-trust", "/trust/{id}/revoke", "Trust a signer no longer", "trust"), s.revokeTrust)

	huma.Register(h, get("list-findings", "/findings", "Finding groups, worst first", "findings"), s.listGroups)
	huma.Register(h, get("get-finding", "/findings/{id}", "A finding group with its artifacts and examples", "findings"), s.getGroup)
	huma.Register(h, do(http.MethodPatch, "set-finding", "/findings/{id}", "Say what you think of a finding group", "findings"), s.setGroup)
	huma.Register(h, get("list-rules", "/rules", "Every rule a scan may report", "findings"), s.listRules)

	huma.Register(h, get("list-inbox", "/inbox", "Groups of findings over everything the platform knows, the most urgent first", "findings"), s.listInbox)
	huma.Register(h, get("get-inbox", "/inbox/{id}", "A group of findings: where it is, what its priority is made of, what was done", "findings"), s.getInbox)
	huma.Register(h, do(http.MethodPost, "triage", "/inbox/triage", "Assign, resolve, ignore, accept or reopen groups, each with a result of its own", "findings"), s.triage)

	huma.Register(h, document(do(http.MethodPost, "register-inventory", "/inventories", "Register what an inventory saw, in place of the last of its source", "assets")), s.registerInventory)
	huma.Register(h, get("list-inventories", "/inventories", "Sources of inventories", "assets"), s.listInventories)
	huma.Register(h, get("list-assets", "/assets", "The register of AI assets, the most urgent first", "assets"), s.listAssets)
	huma.Register(h, get("get-asset", "/assets/{id}", "An asset: owner, tier, evidence, sightings, findings", "assets"), s.getAsset)
	huma.Register(h, do(http.MethodPatch, "set-asset", "/assets/{id}", "Say who answers for an asset and what it is for", "assets"), s.setAsset)
	huma.Register(h, get("list-owner-rules", "/owners", "Rules that give assets owners", "assets"), s.listOwnerRules)
	huma.Register(h, do(http.MethodPost, "set-owner-rule", "/owners", "Give all assets that match an owner", "assets"), s.setOwnerRule)
	huma.Register(h, do(http.MethodPost, "set-tier", "/assets/{id}/tier", "Ask for another risk tier: a graver one holds at once", "assets"), s.setTier)
	huma.Register(h, do(http.MethodPost, "approve-tier", "/assets/{id}/tier/approve", "Approve a milder tier that somebody else asked for", "assets"), s.approveTier)
	huma.Register(h, get("risk-rules", "/risk", "The closed lists, tiers and evidence of the risk rules", "assets"), s.riskRules)
	huma.Register(h, do(http.MethodPost, "classify", "/risk/classify", "Class and tier of a described system, with the rules that fired", "assets"), s.classify)

	huma.Register(h, get("list-audit", "/audit", "Audit entries, newest first", "audit"), s.listAudit)
	huma.Register(h, streamOp(h, get("stream-events", "/events/stream", "What happens, as it is recorded: server-sent events", "audit")), s.streamEvents)
	huma.Register(h, get("get-proof", "/audit/{seq}/proof", "Inclusion proof of one entry", "audit"), s.proof)
	huma.Register(h, get("get-checkpoint", "/audit/checkpoint", "Newest signed checkpoint, and the keys to verify it and statements", "audit"), s.checkpoint)
	huma.Register(h, do(http.MethodPost, "verify-audit", "/audit/verify", "Recompute the whole log", "audit"), s.verifyAudit)
	huma.Register(h, get("list-witnesses", "/audit/witnesses", "Servers of others that sign checkpoints, with the newest that each signed", "audit"), s.listWitnesses)
	huma.Register(h, do(http.MethodPost, "add-witness", "/audit/witnesses", "Show checkpoints to a witness from now on", "audit"), s.addWitness)
	huma.Register(h, do(http.MethodDelete, "remove-witness", "/audit/witnesses", "Forget a witness", "audit"), s.removeWitness)
	huma.Register(h, do(http.MethodPost, "push-witnesses", "/audit/witnesses/push", "Show the newest checkpoint to every witness now", "audit"), s.pushWitnesses)

	huma.Register(h, get("list-keys", "/keys", "Access keys, without secrets", "access"), s.listKeys)
	huma.Register(h, do(http.MethodPost, "create-key", "/keys", "Make an access key; its secret is shown once", "access"), s.createKey)
	huma.Register(h, do(http.MethodDelete, "revoke-key", "/keys/{id}", "End an access key at once", "access"), s.revokeKey)

	huma.Register(h, do(http.MethodPost, "rotate-key", "/keys/{id}/rotate", "Make a new secret with the same rights; the old one ends after an overlap", "access"), s.rotateKey)
	huma.Register(h, get("review-access", "/access/review", "Rights that nobody uses, and keys that need a person", "access"), s.reviewAccess)
	huma.Register(h, get("list-users", "/users", "Users with their roles and groups", "access"), s.listUsers)
	huma.Register(h, do(http.MethodPost, "add-user", "/users", "Make a person known before they first sign in", "access"), s.addUser)
	huma.Register(h, do(http.MethodPatch, "set-user", "/users/{id}", "Change, disable or enable a user", "access"), s.setUser)
	huma.Register(h, get("list-groups", "/groups", "Groups of users and services, with their roles", "access"), s.listUserGroups)
	huma.Register(h, do(http.MethodPatch, "set-group", "/groups/{name}", "Change a group, or make it", "access"), s.setUserGroup)
	huma.Register(h, do(http.MethodDelete, "remove-group", "/groups/{name}", "Remove a group", "access"), s.removeUserGroup)

	huma.Register(h, do(http.MethodPost, "create-link", "/links", "Make a one-time administrator link", "access"), s.createLink)

	mux.HandleFunc("/api/", s.unknown)
	mux.HandleFunc("/tlog/", s.unknown)

	mux.HandleFunc("GET "+loginBegin, s.beginLogin)
	mux.HandleFunc("GET "+loginFinish, s.finishLogin)

	// Bytes and streams.
	mux.HandleFunc("HEAD /api/v1/blobs/{digest}", s.headBlob)
	mux.HandleFunc("POST /api/v1/uploads", s.createUpload)
	mux.HandleFunc("HEAD /api/v1/uploads/{id}", s.headUpload)
	mux.HandleFunc("PATCH /api/v1/uploads/{id}", s.appendUpload)
	mux.HandleFunc("PUT /api/v1/uploads/{id}", s.commitUpload)
	mux.HandleFunc("DELETE /api/v1/uploads/{id}", s.abortUpload)
	mux.HandleFunc("GET /api/v1/artifacts/{digest}/manifest", s.manifest)
	mux.HandleFunc("GET /api/v1/artifacts/{digest}/report", s.report)
	mux.HandleFunc("GET /api/v1/artifacts/{digest}/files/{path...}", s.download)
	mux.HandleFunc("GET /api/v1/events", s.events)
	mux.HandleFunc("GET /tlog/{path...}", s.tile)
}

// unknown answers for what no operation has.
func (s *service) unknown(w http.ResponseWriter, r *http.Request) {
	s.problem(w, &warden.Error{Code: warden.CodeNotFound, Message: "no operation " + r.Method + " at this path", Hint: "see /api/openapi.yaml"})
}
