"""What people write under pictures, in two dozen languages: the parts of the demo's captions.

A caption is an opening, a clause and a closing. Clauses follow an opening without a change of word order: those
of languages that put the verb second begin with the verb.
"""

from typing import NamedTuple


class Phrases(NamedTuple):
    """The parts of a caption in one language; `joint` stands between the opening and the clause."""

    openings: tuple[str, ...]
    clauses: tuple[str, ...]
    closings: tuple[str, ...]
    joint: str = " "


def _phrases(openings: str, clauses: str, closings: str, joint: str = " ") -> Phrases:
    return Phrases(tuple(openings.split("|")), tuple(clauses.split("|")), tuple(closings.split("|")), joint)


PHRASES: dict[str, Phrases] = {
    "en": _phrases(
        "Yesterday evening|Last weekend|On Sunday morning|After a long week|Just before the rain|Once again this year",
        "we walked along the river with some old friends|my sister finally got married in the garden|"
        "the whole team met for lunch at the harbour|grandma baked the cake we had all been waiting for|"
        "the children were playing football behind the house|we said goodbye to our favourite teacher|"
        "everybody came to the station to meet us|dad tried to repair the old boat by himself|"
        "we won the match and nobody could believe it|the neighbours lit a fire and sang until midnight|"
        "I met the people who taught me everything|we climbed the hill to watch the sunrise together",
        ". What a day!|. Thank you all so much|, and it was wonderful|. More pictures soon|!|. Miss you already",
    ),
    "fr": _phrases(
        "Hier soir|Le week-end dernier|Dimanche matin|Après une longue semaine|Juste avant la pluie|"
        "Encore une fois cette année",
        "nous nous sommes promenés au bord de la rivière|ma sœur s'est enfin mariée dans le jardin|"
        "toute l'équipe a déjeuné ensemble sur le port|"
        "mamie a préparé le gâteau que nous attendions tous|"
        "les enfants jouaient au ballon derrière la maison|nous avons dit au revoir à notre professeur|"
        "tout le monde est venu nous chercher à la gare|papa a voulu réparer le vieux bateau tout seul|"
        "on a gagné le match et personne n'y croyait|les voisins ont chanté autour du feu jusqu'à minuit|"
        "j'ai retrouvé ceux qui m'ont tout appris|"
        "nous avons grimpé la colline pour voir le lever du soleil",
        ". Quelle journée !|. Merci à tous|, et c'était magnifique|. D'autres photos bientôt| !|. Vous me manquez déjà",
    ),
    "it": _phrases(
        "Ieri sera|Lo scorso fine settimana|Domenica mattina|Dopo una lunga settimana|"
        "Poco prima della pioggia|Anche quest'anno",
        "abbiamo passeggiato lungo il fiume con gli amici|"
        "mia sorella si è finalmente sposata in giardino|tutta la squadra ha pranzato insieme al porto|"
        "la nonna ha fatto la torta che aspettavamo tutti|i bambini giocavano a pallone dietro casa|"
        "abbiamo salutato la nostra maestra preferita|sono venuti tutti a prenderci alla stazione|"
        "papà ha provato a riparare la vecchia barca da solo|"
        "abbiamo vinto la partita e nessuno ci credeva|"
        "i vicini hanno cantato intorno al fuoco fino a mezzanotte|"
        "ho ritrovato le persone che mi hanno insegnato tutto|"
        "siamo saliti sulla collina per vedere l'alba",
        ". Che giornata!|. Grazie a tutti|, ed è stato bellissimo|. Presto altre foto|!|. Mi mancate già",
    ),
    "es": _phrases(
        "Ayer por la tarde|El fin de semana pasado|El domingo por la mañana|Después de una semana larga|"
        "Justo antes de la lluvia|Otra vez este año",
        "paseamos por la orilla del río con los amigos|mi hermana por fin se casó en el jardín|"
        "todo el equipo comió junto en el puerto|la abuela hizo la tarta que todos esperábamos|"
        "los niños jugaban al fútbol detrás de la casa|nos despedimos de nuestra profesora favorita|"
        "todos vinieron a buscarnos a la estación|papá intentó arreglar el barco viejo él solo|"
        "ganamos el partido y nadie se lo creía|los vecinos cantaron junto al fuego hasta medianoche|"
        "me reencontré con quienes me enseñaron todo|subimos a la colina para ver el amanecer",
        ". ¡Qué día!|. Gracias a todos|, y fue maravilloso|. Pronto más fotos|!|. Ya os echo de menos",
    ),
    "pt": _phrases(
        "Ontem à noite|No fim de semana passado|Domingo de manhã|Depois de uma semana longa|"
        "Pouco antes da chuva|Mais uma vez este ano",
        "passeamos à beira do rio com os amigos|a minha irmã finalmente se casou no jardim|"
        "a equipe inteira almoçou junto no porto|a avó fez o bolo que todos esperávamos|"
        "as crianças jogavam bola atrás da casa|nos despedimos da nossa professora preferida|"
        "todo mundo veio nos buscar na estação|o pai tentou consertar o barco velho sozinho|"
        "ganhamos o jogo e ninguém acreditava|os vizinhos cantaram em volta da fogueira até meia-noite|"
        "reencontrei as pessoas que me ensinaram tudo|subimos a serra para ver o nascer do sol",
        ". Que dia!|. Muito obrigado a todos|, e foi maravilhoso|. Em breve mais fotos|!|. Já estou com saudades",
    ),
    "de": _phrases(
        "Gestern Abend|Am letzten Wochenende|Am Sonntagmorgen|Nach einer langen Woche|Kurz vor dem Regen|"
        "Auch in diesem Jahr",
        "sind wir mit alten Freunden am Fluss spazieren gegangen|"
        "hat meine Schwester endlich im Garten geheiratet|hat die ganze Mannschaft am Hafen gegessen|"
        "hat Oma den Kuchen gebacken, auf den alle gewartet haben|"
        "haben die Kinder hinter dem Haus Fußball gespielt|"
        "haben wir uns von unserer Lehrerin verabschiedet|haben uns alle vom Bahnhof abgeholt|"
        "wollte Papa das alte Boot ganz allein reparieren|"
        "haben wir das Spiel gewonnen und keiner konnte es glauben|"
        "haben die Nachbarn bis Mitternacht am Feuer gesungen|"
        "habe ich die Menschen wiedergesehen, die mir alles beigebracht haben|"
        "sind wir zum Sonnenaufgang auf den Berg gestiegen",
        ". Was für ein Tag!|. Vielen Dank an alle|, und es war wunderschön|. Bald gibt es mehr Bilder|!|"
        ". Ihr fehlt mir jetzt schon",
    ),
    "nl": _phrases(
        "Gisteravond|Afgelopen weekend|Op zondagochtend|Na een lange week|Vlak voor de regen|Ook dit jaar weer",
        "zijn we met oude vrienden langs de rivier gewandeld|is mijn zus eindelijk in de tuin getrouwd|"
        "heeft het hele team bij de haven geluncht|heeft oma de taart gebakken waar iedereen op wachtte|"
        "speelden de kinderen voetbal achter het huis|hebben we afscheid genomen van onze lievelingsjuf|"
        "kwam iedereen ons van het station halen|probeerde papa de oude boot zelf te maken|"
        "hebben we gewonnen en niemand kon het geloven|zongen de buren tot middernacht bij het vuur|"
        "zag ik de mensen terug die mij alles hebben geleerd|"
        "zijn we de heuvel op geklommen voor de zonsopgang",
        ". Wat een dag!|. Bedankt allemaal|, en het was heerlijk|. Binnenkort meer foto's|!|. Ik mis jullie nu al",
    ),
    "pl": _phrases(
        "Wczoraj wieczorem|W zeszły weekend|W niedzielę rano|Po długim tygodniu|Tuż przed deszczem|Jak co roku",
        "spacerowaliśmy nad rzeką ze starymi przyjaciółmi|moja siostra wreszcie wyszła za mąż w ogrodzie|"
        "cała drużyna zjadła razem obiad w porcie|babcia upiekła ciasto, na które wszyscy czekaliśmy|"
        "dzieci grały w piłkę za domem|pożegnaliśmy naszą ulubioną nauczycielkę|"
        "wszyscy przyszli po nas na dworzec|tata próbował sam naprawić starą łódkę|"
        "wygraliśmy mecz i nikt nie mógł uwierzyć|sąsiedzi śpiewali przy ognisku do północy|"
        "spotkałem ludzi, którzy mnie wszystkiego nauczyli|"
        "weszliśmy na wzgórze, żeby zobaczyć wschód słońca",
        ". Co za dzień!|. Dziękujemy wszystkim|, było cudownie|. Wkrótce więcej zdjęć|!|. Już za wami tęsknię",
    ),
    "ro": _phrases(
        "Aseară|Sfârșitul de săptămână trecut|Duminică dimineața|După o săptămână lungă|"
        "Chiar înainte de ploaie|Și în acest an",
        "ne-am plimbat pe malul râului cu prietenii vechi|sora mea s-a căsătorit în sfârșit în grădină|"
        "toată echipa a luat prânzul împreună în port|"
        "bunica a făcut prăjitura pe care o așteptam cu toții|copiii jucau fotbal în spatele casei|"
        "ne-am luat rămas bun de la învățătoarea noastră|toată lumea a venit să ne ia de la gară|"
        "tata a încercat să repare singur barca veche|am câștigat meciul și nimeni nu putea să creadă|"
        "vecinii au cântat lângă foc până la miezul nopții|i-am revăzut pe cei care m-au învățat totul|"
        "am urcat pe deal ca să vedem răsăritul",
        ". Ce zi!|. Mulțumim tuturor|, și a fost minunat|. În curând mai multe poze|!|. Deja îmi este dor de voi",
    ),
    "sv": _phrases(
        "I går kväll|Förra helgen|På söndagsmorgonen|Efter en lång vecka|Strax före regnet|Även i år",
        "gick vi längs ån med gamla vänner|gifte sig min syster äntligen i trädgården|"
        "åt hela laget lunch nere vid hamnen|bakade mormor kakan som vi alla hade väntat på|"
        "spelade barnen fotboll bakom huset|tog vi farväl av vår bästa lärare|"
        "kom alla till stationen för att möta oss|försökte pappa laga den gamla båten själv|"
        "vann vi matchen och ingen kunde tro det|sjöng grannarna vid elden till midnatt|"
        "träffade jag dem som har lärt mig allt|klättrade vi upp på berget för att se soluppgången",
        ". Vilken dag!|. Tack allihop|, och det var underbart|. Fler bilder kommer snart|!|. Jag saknar er redan",
    ),
    "da": _phrases(
        "I går aftes|Sidste weekend|Søndag morgen|Efter en lang uge|Lige før regnen|Også i år",
        "gik vi langs åen med gamle venner|blev min søster endelig gift i haven|"
        "spiste hele holdet frokost nede ved havnen|bagte mormor den kage, som vi alle havde ventet på|"
        "spillede børnene fodbold bag huset|sagde vi farvel til vores yndlingslærer|"
        "kom alle til stationen for at hente os|prøvede far selv at reparere den gamle båd|"
        "vandt vi kampen, og ingen kunne tro det|sang naboerne ved bålet til midnat|"
        "mødte jeg dem, der har lært mig alt|gik vi op på bakken for at se solopgangen",
        ". Sikke en dag!|. Tusind tak til jer alle|, og det var dejligt|. Snart flere billeder|!|"
        ". Jeg savner jer allerede",
    ),
    "no": _phrases(
        "I går kveld|Forrige helg|Søndag morgen|Etter en lang uke|Rett før regnet|Også i år",
        "gikk vi langs elva med gamle venner|giftet søsteren min seg endelig i hagen|"
        "spiste hele laget lunsj nede på brygga|bakte bestemor kaken som vi alle hadde ventet på|"
        "spilte barna fotball bak huset|tok vi farvel med yndlingslæreren vår|"
        "kom alle til stasjonen for å møte oss|prøvde pappa å reparere den gamle båten alene|"
        "vant vi kampen, og ingen kunne tro det|sang naboene ved bålet til midnatt|"
        "møtte jeg dem som har lært meg alt|gikk vi opp på fjellet for å se soloppgangen",
        ". For en dag!|. Tusen takk til alle|, og det var nydelig|. Flere bilder kommer snart|!|. Savner dere allerede",
    ),
    "fi": _phrases(
        "Eilen illalla|Viime viikonloppuna|Sunnuntaiaamuna|Pitkän viikon jälkeen|Juuri ennen sadetta|Taas tänä vuonna",
        "kävelimme joen rannalla vanhojen ystävien kanssa|siskoni meni vihdoin naimisiin puutarhassa|"
        "koko joukkue söi lounasta satamassa|mummo leipoi kakun, jota kaikki odottivat|"
        "lapset pelasivat jalkapalloa talon takana|hyvästelimme lempiopettajamme|"
        "kaikki tulivat asemalle meitä vastaan|isä yritti korjata vanhan veneen itse|"
        "voitimme ottelun eikä kukaan voinut uskoa sitä|naapurit lauloivat nuotiolla keskiyöhön asti|"
        "tapasin ihmiset, jotka opettivat minulle kaiken|kiipesimme mäelle katsomaan auringonnousua",
        ". Mikä päivä!|. Kiitos kaikille|, ja se oli ihanaa|. Lisää kuvia pian|!|. Ikävä jo nyt",
    ),
    "cs": _phrases(
        "Včera večer|Minulý víkend|V neděli ráno|Po dlouhém týdnu|Těsně před deštěm|I letos",
        "jsme se procházeli podél řeky se starými přáteli|se moje sestra konečně vdala na zahradě|"
        "celý tým obědval společně v přístavu|babička upekla dort, na který jsme všichni čekali|"
        "děti hrály fotbal za domem|jsme se rozloučili s naší oblíbenou učitelkou|"
        "nám všichni přišli naproti na nádraží|se táta pokusil sám opravit starou loď|"
        "jsme vyhráli zápas a nikdo tomu nemohl uvěřit|sousedé zpívali u ohně až do půlnoci|"
        "jsem potkal lidi, kteří mě všechno naučili|jsme vylezli na kopec, abychom viděli východ slunce",
        ". To byl den!|. Děkujeme všem|, a bylo to nádherné|. Brzy přidám další fotky|!|. Už teď mi chybíte",
    ),
    "hu": _phrases(
        "Tegnap este|Múlt hétvégén|Vasárnap reggel|Egy hosszú hét után|Közvetlenül az eső előtt|Idén is",
        "régi barátokkal sétáltunk a folyó partján|a nővérem végre férjhez ment a kertben|"
        "az egész csapat együtt ebédelt a kikötőben|"
        "a nagymama megsütötte a tortát, amelyre mindenki várt|a gyerekek fociztak a ház mögött|"
        "elbúcsúztunk a kedvenc tanárunktól|mindenki kijött elénk az állomásra|"
        "apa egyedül próbálta megjavítani a régi csónakot|"
        "megnyertük a meccset, és senki sem akarta elhinni|a szomszédok éjfélig énekeltek a tűznél|"
        "találkoztam azokkal, akik mindenre megtanítottak|"
        "felmásztunk a dombra, hogy lássuk a napfelkeltét",
        ". Micsoda nap!|. Köszönjük mindenkinek|, és csodálatos volt|. Hamarosan több kép|!|. Máris hiányoztok",
    ),
    "tr": _phrases(
        "Dün akşam|Geçen hafta sonu|Pazar sabahı|Uzun bir haftadan sonra|Yağmurdan hemen önce|Bu yıl yine",
        "eski arkadaşlarla nehir kıyısında yürüdük|kız kardeşim sonunda bahçede evlendi|"
        "bütün takım limanda birlikte yemek yedi|anneannem hepimizin beklediği pastayı yaptı|"
        "çocuklar evin arkasında top oynuyordu|en sevdiğimiz öğretmenimizle vedalaştık|"
        "herkes bizi karşılamak için istasyona geldi|babam eski tekneyi tek başına tamir etmeye çalıştı|"
        "maçı kazandık ve kimse inanamadı|komşular gece yarısına kadar ateşin başında şarkı söyledi|"
        "bana her şeyi öğreten insanlarla buluştum|gün doğumunu izlemek için tepeye çıktık",
        ". Ne gündü!|. Herkese teşekkürler|, çok güzeldi|. Yakında daha çok fotoğraf|!|. Şimdiden özledim",
    ),
    "el": _phrases(
        "Χθες το βράδυ|Το περασμένο Σαββατοκύριακο|Την Κυριακή το πρωί|Μετά από μια μεγάλη εβδομάδα|"
        "Λίγο πριν τη βροχή|Και φέτος",
        "περπατήσαμε δίπλα στο ποτάμι με παλιούς φίλους|η αδερφή μου παντρεύτηκε επιτέλους στον κήπο|"
        "όλη η ομάδα έφαγε μαζί στο λιμάνι|η γιαγιά έφτιαξε το γλυκό που περιμέναμε όλοι|"
        "τα παιδιά έπαιζαν μπάλα πίσω από το σπίτι|αποχαιρετήσαμε την αγαπημένη μας δασκάλα|"
        "ήρθαν όλοι στον σταθμό για να μας πάρουν|ο μπαμπάς προσπάθησε να φτιάξει μόνος του τη βάρκα|"
        "κερδίσαμε τον αγώνα και κανείς δεν το πίστευε|οι γείτονες τραγουδούσαν ως τα μεσάνυχτα|"
        "ξαναβρήκα αυτούς που μου έμαθαν τα πάντα|ανεβήκαμε στον λόφο για να δούμε την ανατολή",
        ". Τι μέρα!|. Ευχαριστούμε όλους|, και ήταν υπέροχα|. Σύντομα κι άλλες φωτογραφίες|!|. Μου λείπετε ήδη",
    ),
    "ru": _phrases(
        "Вчера вечером|В прошлые выходные|В воскресенье утром|После долгой недели|Перед самым дождём|И в этом году",
        "мы гуляли вдоль реки со старыми друзьями|моя сестра наконец вышла замуж в саду|"
        "вся команда обедала вместе в порту|бабушка испекла торт, которого мы все ждали|"
        "дети играли в футбол за домом|мы попрощались с нашей любимой учительницей|"
        "все пришли встретить нас на вокзал|папа пытался сам починить старую лодку|"
        "мы выиграли матч, и никто не мог поверить|соседи пели у костра до полуночи|"
        "я встретил людей, которые научили меня всему|мы поднялись на холм встретить рассвет",
        ". Какой день!|. Спасибо всем|, и это было прекрасно|. Скоро будут ещё фотографии|!|. Уже скучаю",
    ),
    "uk": _phrases(
        "Учора ввечері|Минулими вихідними|У неділю вранці|Після довгого тижня|Перед самим дощем|І цього року",
        "ми гуляли вздовж річки зі старими друзями|моя сестра нарешті вийшла заміж у саду|"
        "уся команда обідала разом у порту|бабуся спекла торт, на який ми всі чекали|"
        "діти грали у футбол за будинком|ми попрощалися з нашою улюбленою вчителькою|"
        "усі прийшли зустріти нас на вокзал|тато намагався сам полагодити старий човен|"
        "ми виграли матч, і ніхто не міг повірити|сусіди співали біля вогнища до півночі|"
        "я зустрів людей, які навчили мене всього|ми піднялися на пагорб зустріти світанок",
        ". Який день!|. Дякуємо всім|, і це було чудово|. Скоро буде ще більше світлин|!|. Уже сумую за вами",
    ),
    "ca": _phrases(
        "Ahir al vespre|El cap de setmana passat|Diumenge al matí|Després d'una setmana llarga|"
        "Just abans de la pluja|Aquest any també",
        "vam passejar vora el riu amb els amics|la meva germana per fi es va casar al jardí|"
        "tot l'equip va dinar plegat al port|l'àvia va fer el pastís que tots esperàvem|"
        "els nens jugaven a pilota darrere de casa|ens vam acomiadar de la nostra mestra preferida|"
        "tothom va venir a buscar-nos a l'estació|el pare va provar d'arreglar tot sol la barca vella|"
        "vam guanyar el partit i ningú no s'ho creia|"
        "els veïns van cantar a la vora del foc fins a mitjanit|"
        "vaig retrobar la gent que m'ho ha ensenyat tot|vam pujar al turó per veure sortir el sol",
        ". Quin dia!|. Moltes gràcies a tothom|, i va ser preciós|. Aviat més fotos|!|. Ja us trobo a faltar",
    ),
    "ar": _phrases(
        "مساء أمس|في عطلة نهاية الأسبوع|صباح يوم الأحد|بعد أسبوع طويل|قبل المطر بقليل|في هذه السنة أيضا",
        "مشينا على ضفة النهر مع الأصدقاء القدامى|تزوجت أختي أخيرا في الحديقة|"
        "تناول الفريق كله الغداء في الميناء|صنعت جدتي الكعكة التي كنا ننتظرها جميعا|"
        "كان الأطفال يلعبون الكرة خلف البيت|ودعنا معلمتنا المفضلة|جاء الجميع إلى المحطة لاستقبالنا|"
        "حاول أبي إصلاح القارب القديم وحده|فزنا بالمباراة ولم يصدق أحد|"
        "غنى الجيران حول النار حتى منتصف الليل|التقيت بالناس الذين علموني كل شيء|"
        "صعدنا إلى التل لنرى شروق الشمس",
        ". يا له من يوم!|. شكرا للجميع|، وكان ذلك رائعا|. صور أخرى قريبا|!|. اشتقت إليكم من الآن",
    ),
    "hi": _phrases(
        "कल शाम|पिछले सप्ताहांत|रविवार की सुबह|एक लंबे हफ्ते के बाद|बारिश से ठीक पहले|इस साल फिर से",
        "हम पुराने दोस्तों के साथ नदी के किनारे घूमे|मेरी बहन की शादी आखिरकार बगीचे में हुई|"
        "पूरी टीम ने एक साथ दोपहर का खाना खाया|दादी ने वह मिठाई बनाई जिसका सबको इंतज़ार था|"
        "बच्चे घर के पीछे क्रिकेट खेल रहे थे|हमने अपनी प्यारी अध्यापिका को विदा किया|"
        "सब लोग हमें लेने स्टेशन आए|पिताजी ने पुरानी नाव खुद ठीक करने की कोशिश की|"
        "हमने मैच जीत लिया और किसी को यकीन नहीं हुआ|पड़ोसियों ने आधी रात तक गाने गाए|"
        "मैं उन लोगों से मिला जिन्होंने मुझे सब कुछ सिखाया|हम सूर्योदय देखने पहाड़ी पर चढ़े",
        "। क्या दिन था!|। सबका बहुत धन्यवाद|, और बहुत अच्छा लगा|। जल्द ही और तस्वीरें|!|। अभी से याद आ रही है",
    ),
    "ja": _phrases(
        "昨日の夜、|先週末、|日曜日の朝、|長い一週間のあとで、|雨が降る少し前に、|今年もまた、",
        "昔からの友達と川沿いを散歩しました|妹がついに庭で結婚式を挙げました|"
        "チームのみんなで港で昼ごはんを食べました|"
        "おばあちゃんがみんなの待っていたケーキを焼いてくれました|"
        "子どもたちが家の裏でサッカーをしていました|大好きな先生とお別れをしました|"
        "みんなが駅まで迎えに来てくれました|父が古い船を一人で直そうとしていました|"
        "試合に勝って誰も信じられませんでした|近所の人たちが夜中まで歌っていました|"
        "すべてを教えてくれた人たちに会いました|日の出を見るために丘に登りました",
        "。最高の一日！|。みなさんありがとう|。とても楽しかったです|。写真はまた今度|！|。もう会いたいです",
        joint="",
    ),
    "zh": _phrases(
        "昨天晚上|上个周末|星期天早上|忙了一个星期以后|下雨之前|今年又一次",
        "我们和老朋友沿着河边散步|我的姐姐终于在花园里结婚了|全队一起在港口吃了午饭|"
        "奶奶做了大家都在等的蛋糕|孩子们在房子后面踢足球|我们和最喜欢的老师告别了|大家都到车站来接我们|"
        "爸爸想自己修好那条旧船|我们赢了比赛，谁都不敢相信|邻居们围着火唱歌唱到半夜|"
        "我见到了教会我一切的人|我们爬上山去看日出",
        "。多么美好的一天！|。谢谢大家|，真的很开心|。很快再发照片|！|。已经开始想你们了",
        joint="",
    ),
}
"""By ISO 639 code."""

SHORT: tuple[str, ...] = (
    "❤️",
    "🙂🙂",
    "IMG_2034",
    "DSC00412.JPG",
    "ok",
    "...",
    "2019",
    ":-)",
    "🔥🔥🔥",
    "untitled",
)
"""Captions without a language."""

TAILS: tuple[str, ...] = (
    *[""] * 12,
    *(" 😊", " ❤️❤️", " 📸", " 🎉🎉", " 🌅", " 😂"),
    *(" #family", " #love #friends", " #summer2019", " #throwback #nofilter", " #sundayvibes", " #goodTimes"),
    *(" https://t.co/a1B2c3D4e5", " @best.friend_07", " www.example.com/album/12", " (1/4)"),
)
"""What stands behind a caption; nothing, for about half of them."""

PHONE_LEADS: tuple[str, ...] = (" Tel. ", " WhatsApp ", " 📞 ", " ☎ ", " / ")
