package risk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelwarden/warden/internal/inventory/risk"
)

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// TestSystems: described systems have the class that the Act gives them, and the
// tier of the table. Written from Articles 5, 6, 50 and Annex III.
func TestSystems(t *testing.T) {
	rules, err := risk.Load()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2027, 12, 3, 0, 0, 0, 0, time.UTC)
	rows := []struct {
		name, purpose, traits, data, exposure, effect, autonomy, tools, exemption string
		class                                                                     risk.Class
		tier                                                                      int
	}{
		{"city_citizen_score", "social_scoring", "profiling", "personal", "internet", "automatic_reversible", "answers", "", "", risk.Prohibited, 0},
		{"hidden_frames_in_adverts", "subliminal_manipulation", "", "internal", "internet", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"toy_that_urges_children", "vulnerability_exploitation", "talks_to_people", "children", "internet", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"future_offender_list", "crime_prediction", "profiling", "personal", "internal", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"face_database_from_web", "face_scraping", "", "special_category", "internal", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"mood_of_call_centre_staff", "emotion_recognition", "workplace", "special_category", "internal", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"attention_of_pupils", "emotion_recognition", "school", "children", "internal", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"drowsy_pilot_warning", "emotion_recognition", "workplace,medical_or_safety", "health", "internal", "advisory", "answers", "", "", risk.High, 1},
		{"religion_from_faces", "biometric_categorisation", "sensitive_traits", "special_category", "internal", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"balanced_face_dataset", "biometric_categorisation", "sensitive_traits,dataset_labelling", "special_category", "internal", "advisory", "answers", "", "", risk.High, 1},
		{"police_live_face_search", "remote_biometric_identification", "real_time_law_enforcement", "special_category", "internal", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"search_for_abducted_child", "remote_biometric_identification", "real_time_law_enforcement,judicially_authorised", "special_category", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"undressing_application", "sexual_imagery", "generates_media", "personal", "internet", "advisory", "answers", "", "", risk.Prohibited, 0},
		{"banned_vendor_chat", "customer_support", "vendor_banned", "internal", "internal", "advisory", "answers", "", "", risk.Transparency, 0},
		{"lift_brake_controller", "quality_control", "annex_i_safety", "none", "none", "automatic_irreversible", "acts_alone", "", "", risk.High, 1},
		{"radiology_device", "medical_support", "annex_i_safety", "health", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"radiology_device_claims_narrow", "medical_support", "annex_i_safety", "health", "internal", "human_decides", "answers", "", "narrow_procedural", risk.High, 1},
		{"stadium_face_search_after", "remote_biometric_identification", "", "special_category", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"door_unlock_by_face", "biometric_verification", "", "special_category", "internal", "automatic_reversible", "answers", "", "", risk.Minimal, 2},
		{"hair_colour_filter", "biometric_categorisation", "", "personal", "internet", "advisory", "answers", "", "", risk.Transparency, 2},
		{"emotion_in_adverts_lab", "emotion_recognition", "", "special_category", "internal", "advisory", "answers", "", "", risk.High, 1},
		{"power_grid_balancing", "critical_infrastructure", "", "internal", "internal", "automatic_irreversible", "acts_alone", "", "", risk.High, 1},
		{"water_alarm_sorting", "critical_infrastructure", "", "internal", "internal", "human_decides", "answers", "", "narrow_procedural", risk.HighExempt, 2},
		{"university_admission", "education_admission", "profiling", "personal", "internet", "human_decides", "answers", "", "", risk.High, 1},
		{"essay_grading", "education_assessment", "", "personal", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"school_track_choice", "education_level", "profiling", "children", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"exam_camera", "exam_proctoring", "", "special_category", "internet", "human_decides", "answers", "", "", risk.High, 1},
		{"plagiarism_in_admission_letters", "education_admission", "", "personal", "internal", "human_decides", "answers", "", "preparatory", risk.HighExempt, 2},
		{"cv_ranking", "recruitment", "profiling", "personal", "internet", "human_decides", "suggests", "", "", risk.High, 1},
		{"cv_ranking_claims_preparatory", "recruitment", "profiling", "personal", "internal", "human_decides", "suggests", "", "preparatory", risk.High, 1},
		{"cv_text_to_fields", "recruitment", "", "personal", "internal", "human_decides", "answers", "", "narrow_procedural", risk.HighExempt, 2},
		{"shift_assignment", "employment_decisions", "profiling", "personal", "internal", "automatic_reversible", "acts_alone", "write", "", risk.High, 1},
		{"tone_check_of_reviews", "employment_decisions", "", "personal", "internal", "advisory", "suggests", "", "improves_finished_work", risk.HighExempt, 2},
		{"housing_benefit", "public_benefits", "", "special_category", "internet", "automatic_reversible", "answers", "", "", risk.High, 1},
		{"consumer_credit", "creditworthiness", "profiling", "personal", "internet", "automatic_reversible", "answers", "", "", risk.High, 1},
		{"card_fraud", "fraud_detection", "", "payment", "internal", "automatic_reversible", "acts_alone", "", "", risk.Minimal, 2},
		{"fraud_hints_for_people", "fraud_detection", "", "payment", "internal", "human_decides", "suggests", "", "", risk.Minimal, 3},
		{"health_insurance_price", "insurance_pricing", "profiling", "health", "internal", "automatic_reversible", "answers", "", "", risk.High, 1},
		{"ambulance_dispatch", "emergency_dispatch", "", "health", "internal", "human_decides", "suggests", "", "", risk.High, 1},
		{"victim_risk", "crime_victim_risk", "profiling", "personal", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"lie_detector", "polygraph", "", "special_category", "internal", "advisory", "answers", "", "", risk.High, 1},
		{"evidence_weight", "evidence_reliability", "", "personal", "internal", "advisory", "answers", "", "", risk.High, 1},
		{"reoffending_with_facts", "offending_risk", "profiling", "personal", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"suspect_profiles", "law_enforcement_profiling", "profiling", "personal", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"visa_risk", "migration_risk", "profiling", "personal", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"asylum_file_help", "asylum_examination", "", "special_category", "internal", "human_decides", "suggests", "", "", risk.High, 1},
		{"border_watch", "border_identification", "", "special_category", "internal", "human_decides", "answers", "", "", risk.High, 1},
		{"passport_check", "document_verification", "", "personal", "internal", "human_decides", "answers", "", "", risk.Minimal, 3},
		{"ruling_drafts", "judicial_assistance", "", "personal", "internal", "human_decides", "suggests", "", "", risk.High, 1},
		{"court_pseudonymising", "judicial_assistance", "", "personal", "internal", "human_decides", "answers", "", "narrow_procedural", risk.HighExempt, 2},
		{"voter_messages", "election_influence", "profiling", "personal", "internet", "automatic_reversible", "answers", "", "", risk.High, 1},
		{"poster_routes", "campaign_logistics", "", "internal", "internal", "advisory", "answers", "", "", risk.Minimal, 4},
		{"shop_chatbot", "customer_support", "talks_to_people", "personal", "internet", "advisory", "answers", "", "", risk.Transparency, 2},
		{"shop_chatbot_without_persons", "customer_support", "talks_to_people", "internal", "internet", "advisory", "answers", "", "", risk.Transparency, 3},
		{"refund_agent", "customer_support", "talks_to_people", "payment", "internet", "automatic_reversible", "acts_alone", "money", "", risk.Transparency, 1},
		{"companion_application", "companion", "", "special_category", "internet", "advisory", "answers", "", "", risk.Transparency, 1},
		{"image_maker", "content_generation", "generates_media", "none", "internet", "advisory", "answers", "", "", risk.Transparency, 3},
		{"photo_sharpening", "content_generation", "generates_media,assistive_editing", "none", "internal", "advisory", "answers", "", "", risk.Minimal, 4},
		{"news_writer_reviewed", "content_generation", "public_text,editorial_review", "internal", "internal", "advisory", "answers", "", "", risk.Minimal, 4},
		{"news_writer", "content_generation", "public_text", "internal", "internal", "advisory", "answers", "", "", risk.Transparency, 3},
		{"spokesman_double", "content_generation", "deepfake,generates_media", "personal", "internet", "advisory", "answers", "", "", risk.Transparency, 2},
		{"contract_translation", "translation", "", "internal", "internal", "advisory", "answers", "", "", risk.Minimal, 4},
		{"minutes_of_meetings", "summarisation", "", "personal", "internal", "advisory", "answers", "", "", risk.Minimal, 3},
		{"code_completion", "code_assistance", "", "internal", "internal", "advisory", "suggests", "read", "", risk.Minimal, 4},
		{"agent_that_merges_code", "code_assistance", "", "internal", "internal", "automatic_reversible", "acts_alone", "code", "", risk.Minimal, 1},
		{"agent_that_opens_requests", "code_assistance", "", "internal", "internal", "human_decides", "acts_with_approval", "code,write", "", risk.Minimal, 2},
		{"intranet_search", "search", "", "internal", "internal", "advisory", "answers", "read", "", risk.Minimal, 4},
		{"partner_catalogue_search", "search", "", "internal", "partner", "advisory", "answers", "", "", risk.Minimal, 3},
		{"film_recommendation", "recommendation", "", "personal", "internet", "advisory", "answers", "", "", risk.Minimal, 2},
		{"spam_filter", "moderation", "", "personal", "internal", "automatic_reversible", "answers", "", "", risk.Minimal, 2},
		{"demand_forecast", "forecasting", "", "internal", "internal", "advisory", "answers", "", "", risk.Minimal, 4},
		{"weld_inspection", "quality_control", "", "none", "none", "human_decides", "answers", "", "", risk.Minimal, 4},
		{"account_reset_agent", "security_operations", "", "credentials", "internal", "automatic_irreversible", "acts_alone", "identity", "", risk.Minimal, 1},
		{"secret_triage", "security_operations", "", "credentials", "internal", "human_decides", "suggests", "", "", risk.Minimal, 3},
		{"nobody_described_it", "", "", "", "", "", "", "", "", risk.Minimal, 3},
		{"data_unknown", "search", "", "", "internal", "advisory", "answers", "", "", risk.Minimal, 3},
		{"exposure_unknown", "search", "", "internal", "", "advisory", "answers", "", "", risk.Minimal, 3},
	}
	if len(rows) < 60 {
		t.Fatalf("%d systems", len(rows))
	}
	for _, x := range rows {
		t.Run(x.name, func(t *testing.T) {
			s := risk.System{
				Purpose: x.purpose, Traits: words(x.traits), Data: words(x.data), Exposure: x.exposure, Effect: x.effect, Autonomy: x.autonomy, Tools: words(x.tools), Exemption: x.exemption,
			}
			if err := rules.Check(s); err != nil {
				t.Fatal(err)
			}
			got := rules.Classify(s, now)
			if got.Class != x.class || got.Tier != x.tier {
				t.Errorf("Classify = %s, tier %d, want %s, tier %d; fired %+v", got.Class, got.Tier, x.class, x.tier, got.Fired)
			}
			if got.Tier < 4 && len(got.Fired) == 0 {
				t.Error("no rule says why")
			}
		})
	}
}

// TestDates: a rule that holds later is told, and does not fire before.
func TestDates(t *testing.T) {
	rules, err := risk.Load()
	if err != nil {
		t.Fatal(err)
	}
	s := risk.System{Purpose: "sexual_imagery", Data: []string{"none"}, Exposure: "internal"}
	early := rules.Classify(s, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	if early.Class != risk.Transparency || len(early.Coming) != 1 {
		t.Errorf("the day before: %+v", early)
	}
	if late := rules.Classify(s, time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)); late.Class != risk.Prohibited || late.Tier != 0 {
		t.Errorf("on the day: %+v", late)
	}
}

// TestSystemic: a general-purpose model above the threshold is presumed to have
// systemic risk.
func TestSystemic(t *testing.T) {
	rules, err := risk.Load()
	if err != nil {
		t.Fatal(err)
	}
	s := risk.System{Purpose: "general_purpose", Traits: []string{"gpai_provider"}, FLOP: 9e24}
	if g := rules.Classify(s, time.Now()).GPAI; g != "provider" {
		t.Errorf("GPAI = %q", g)
	}
	s.FLOP = 2e25
	if g := rules.Classify(s, time.Now()).GPAI; g != "systemic" {
		t.Errorf("GPAI = %q", g)
	}
}

// TestMoreIsNeverLess: a description that adds data, tools or exposure never has
// a milder tier.
func TestMoreIsNeverLess(t *testing.T) {
	rules, err := risk.Load()
	if err != nil {
		t.Fatal(err)
	}
	axes := rules.Data().Axes
	for _, e := range axes["exposure"] {
		for i := range axes["effect"] {
			s := risk.System{Purpose: "search", Data: []string{"internal"}, Exposure: e, Effect: axes["effect"][i], Autonomy: "acts_alone"}
			before := rules.Classify(s, time.Now()).Tier
			for _, d := range axes["data"] {
				more := s
				more.Data = append(slices.Clone(s.Data), d)
				if after := rules.Classify(more, time.Now()).Tier; after > before {
					t.Errorf("%+v: tier %d, and %d with %s", s, before, after, d)
				}
			}
			for _, tool := range axes["tool"] {
				more := s
				more.Tools = []string{tool}
				if after := rules.Classify(more, time.Now()).Tier; after > before {
					t.Errorf("%+v: tier %d, and %d with tool %s", s, before, after, tool)
				}
			}
		}
	}
}
