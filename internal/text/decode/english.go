package decode

import "sync"

// common is the 400 letter trigrams that this project's own documentation has
// most often: somewhat over half of the trigrams of English words.
const common = "" +
	"ablaccaceachackactadeageailainakealiallalsameancandangansantapiapparaardareargariartaryaseassataateathatiattatuaudbelber" +
	"blebuibytcalcancatcceceschacheciscklcksclacodcomconcorcouctictoctsdatdecdeddefdeldenderdesdetdgedicdigdinditdoweaceadeam" +
	"eaneasecieckecoectedieedegielsembemeemoencendensentepoeptequeraereeriernerrerserveryessesteteetseveeviewaexpextfacferfic" +
	"fiefilfinforfrogatgengesgetghtgisgraguahanharhashathechenherhinholhouialicaickicticyideiesifiigeighignileimeimiincindine" +
	"inginiinsintionireisiistiteithitiitsityivejecjsokeykleknolablaslatlealesliclimlinlislitloalogloolowmalmanmatmbemedmemmen" +
	"mesmetminmitmodmplmpomptnalnamnatncendendindonednernesnevngengsninnlynnenotnownstntentintrntsoadodeoinoldoleoliommompone" +
	"onlonsontoolopeordoreorkormorsortoryostoteothounouroutoveownowspacparpatpenperpicplapleplipoipolporposppeprepriproputque" +
	"racrairamranratrcerchrderearecredreerefregrenrepreqresretrevrgerierifrinritrmarnarolromrourovrowrsirtirulrunrvesamscasco" +
	"secsedsensersessetshashosidsigsiosonsoussessistastestostrststabtantartattchtectedtemtentertestewtexthathethithothrtimtin" +
	"tiotittootortratretritrutrytteturtypuarudiuesuiluleultundunsunturcureuseustutevalvenvervesvidwarwaywerwhawhewitworypeyte"

var trigrams = sync.OnceValue(func() *[26 * 26 * 26]bool {
	var t [26 * 26 * 26]bool
	for i := 0; i < len(common); i += 3 {
		t[key(common[i], common[i+1], common[i+2])] = true
	}
	return &t
})

func key(a, b, c byte) int { return int(a-'a')*26*26 + int(b-'a')*26 + int(c-'a') }

// english returns how many of 100 trigrams in b are common ones, and how many
// there are. as gives the letter that a byte is read as, 0: none.
func english(b []byte, as *[256]byte) (share, count int) {
	t := trigrams()
	var x, y byte
	hits := 0
	for _, c := range b {
		z := as[c]
		if x != 0 && y != 0 && z != 0 {
			count++
			if t[key(x, y, z)] {
				hits++
			}
		}
		x, y = y, z
	}
	if count == 0 {
		return 0, 0
	}
	return hits * 100 / count, count
}
