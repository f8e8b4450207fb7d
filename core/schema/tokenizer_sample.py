"""Text of names and numbers, which tokenizers cut finer than prose. Nobody in it exists."""

SAMPLE = (
    "At 184 Oskdle Hill, Vaxdogate, lives Drelmar Yavridle, a pilot with a parrot, born on 22 April 2003. The"
    " account is CT-805043, the phone 555-0147.",
    "Wistpin Zorvezen was born on 4 August 1932 in Yavgaholm, works as a beekeeper and keeps a greyhound. Phone"
    " 555-0196, mail xan13@example.org, account FV-179694.",
    "File of Ulkk Drelvedle: 36 Mibvor Road, Thrypehaven; phone 555-0197; mail zor20@example.org; birthday 1 April"
    " 2005; plumber by trade; account BZ-128314.",
    "File of Frodle Dreldorog: 45 Ulkwen Hill, Ulktuford; phone 555-0131; mail zor38@example.org; birthday 27 July"
    " 1966; welder by trade; account KV-861155.",
    "At 160 Graerog Lane, Xanshofell, lives Plimthu Plimrimar, a plumber with a greyhound, born on 22 June 1996."
    " The account is HT-939518, the phone 555-0178.",
    "Julpin Wisttuzen, roofer in Plimnaholm, lives at 91 Drelrog Lane. Born 21 June 2003, reachable at 555-0175 or"
    " grae83@example.org; account FZ-606924.",
    "File of Drelx Keblisk: 137 Wistpin Square, Vaxtufell; phone 555-0180; mail ulk93@example.org; birthday 16"
    " July 1931; roofer by trade; account GP-339756.",
    "File of Graex Zorgadle: 189 Drelmar Hill, Yavlistad; phone 555-0182; mail yav47@example.org; birthday 3"
    " September 1976; mason by trade; account GZ-725075.",
    "File of Vaxdle Xanlizen: 108 Xanpin Hill, Yavtuford; phone 555-0175; mail osk30@example.org; birthday 7"
    " November 1933; welder by trade; account DS-739953.",
    "Graevor Xanshothu, carpenter in Zorgastad, lives at 137 Oskmar Square. Born 17 July 1994, reachable at"
    " 555-0124 or vax45@example.org; account GT-820840.",
    "At 36 Quilpin Close, Plimdoford, lives Oskzen Xandopin, a beekeeper with a ferret, born on 10 March 1954. The"
    " account is CV-812499, the phone 555-0104.",
    "At 47 Yavmar Close, Plimgagate, lives Frothu Thrygarog, a dentist with a parrot, born on 26 December 1972."
    " The account is GQ-157776, the phone 555-0154.",
    "File of Xanrog Ulknably: 17 Plimdle Close, Ulkdowick; phone 555-0199; mail fro57@example.org; birthday 23"
    " April 1971; gardener by trade; account KW-739616.",
    "File of Plimzen Drelshobly: 118 Julzen Road, Oskvegate; phone 555-0135; mail plim95@example.org; birthday 17"
    " November 1967; cooper by trade; account HW-266425.",
    "File of Yavthu Oskgax: 2 Julsk Road, Quilshohaven; phone 555-0144; mail zor26@example.org; birthday 22"
    " February 1984; butcher by trade; account FS-822406.",
    "Vaxthu Kebdothu, librarian in Oskgagate, lives at 159 Mibsk Lane. Born 28 October 1944, reachable at 555-0149"
    " or vax36@example.org; account DV-468373.",
)
