//! Who is drawn: everything about a face that stays the same from photo to photo.
//!
//! Invariant: an identity is a pure function of its seed. Each trait is drawn evenly over its range, so that
//! thousands of identities spread out instead of crowding around an average face.

use super::colour::Rgb;
use super::stream::Stream;

/// Which stream of the seed the identity is drawn from.
const PURPOSE: u64 = 1;

const SKIN: [Rgb; 7] = [
    Rgb::hex(0xfbe0d0),
    Rgb::hex(0xf3c9ab),
    Rgb::hex(0xe6b38c),
    Rgb::hex(0xcf9a6d),
    Rgb::hex(0xae7a50),
    Rgb::hex(0x84573a),
    Rgb::hex(0x5b3a29),
];
const HAIR: [Rgb; 8] = [
    Rgb::hex(0x17130f),
    Rgb::hex(0x33231a),
    Rgb::hex(0x5a3a22),
    Rgb::hex(0x7d4a24),
    Rgb::hex(0xa8532a),
    Rgb::hex(0xb98a4a),
    Rgb::hex(0xe0c27e),
    Rgb::hex(0xc9c7c2),
];
const IRIS: [Rgb; 6] = [
    Rgb::hex(0x2f1c10),
    Rgb::hex(0x6b4220),
    Rgb::hex(0x8a7a35),
    Rgb::hex(0x4f8a52),
    Rgb::hex(0x4a8fb8),
    Rgb::hex(0x8296a3),
];

/// The haircut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HairStyle {
    Bald,
    Buzz,
    SidePart,
    Quiff,
    Curly,
    Receding,
    Bob,
    LongFringe,
    LongStraight,
    LongWavy,
    Bun,
    Afro,
    Slick,
    Bowl,
}

impl HairStyle {
    const ALL: [Self; 14] = [
        Self::Bald,
        Self::Buzz,
        Self::SidePart,
        Self::Quiff,
        Self::Curly,
        Self::Receding,
        Self::Bob,
        Self::LongFringe,
        Self::LongStraight,
        Self::LongWavy,
        Self::Bun,
        Self::Afro,
        Self::Slick,
        Self::Bowl,
    ];

    /// The style at this place (0..1) of the list.
    fn at(place: f32) -> Self {
        let index = (place * Self::ALL.len() as f32) as usize;
        Self::ALL.get(index).copied().unwrap_or(Self::Bald)
    }

    /// Whether it hangs down beside the face.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, Self::Bob | Self::LongFringe | Self::LongStraight | Self::LongWavy | Self::Bun)
    }
}

/// The beard's cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beard {
    None,
    Stubble,
    Moustache,
    Goatee,
    Full,
}

/// Outline of the head, in face units.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) forehead: f32,
    pub(crate) skull: f32,
    pub(crate) cheek: f32,
    pub(crate) jaw: f32,
    pub(crate) jaw_height: f32,
    pub(crate) chin: f32,
    pub(crate) chin_width: f32,
    pub(crate) skew: f32,
    pub(crate) ear_size: f32,
    pub(crate) ear_height: f32,
    pub(crate) ear_width: f32,
    pub(crate) neck: f32,
}

/// Both eyes; differences between left and right stand in `uneven`.
#[derive(Clone, Debug)]
pub(crate) struct Eyes {
    pub(crate) spacing: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
    pub(crate) tilt: f32,
    pub(crate) peak: f32,
    pub(crate) iris_size: f32,
    pub(crate) iris: Rgb,
    pub(crate) fold: f32,
    pub(crate) lashes: f32,
    pub(crate) bags: f32,
    pub(crate) shadow: f32,
    pub(crate) uneven: f32,
}

/// Both eyebrows.
#[derive(Clone, Debug)]
pub(crate) struct Brows {
    pub(crate) height: f32,
    pub(crate) length: f32,
    pub(crate) thickness: f32,
    pub(crate) arch: f32,
    pub(crate) slope: f32,
    pub(crate) taper: f32,
    pub(crate) inner: f32,
    pub(crate) colour: Rgb,
    pub(crate) uneven: f32,
}

/// The nose.
#[derive(Clone, Debug)]
pub(crate) struct Nose {
    pub(crate) length: f32,
    pub(crate) width: f32,
    pub(crate) bridge: f32,
    pub(crate) tip: f32,
    pub(crate) wing: f32,
    pub(crate) droop: f32,
    pub(crate) skew: f32,
    pub(crate) height: f32,
}

/// The mouth.
#[derive(Clone, Debug)]
pub(crate) struct Mouth {
    pub(crate) gap: f32,
    pub(crate) width: f32,
    pub(crate) upper: f32,
    pub(crate) lower: f32,
    pub(crate) bow: f32,
    pub(crate) corners: f32,
    pub(crate) colour: Rgb,
    pub(crate) skew: f32,
}

/// Hair of the head.
#[derive(Clone, Debug)]
pub(crate) struct Hair {
    pub(crate) style: HairStyle,
    pub(crate) colour: Rgb,
    pub(crate) hairline: f32,
    pub(crate) volume: f32,
    pub(crate) sides: f32,
    pub(crate) part: f32,
    pub(crate) length: f32,
    pub(crate) wave: f32,
    pub(crate) sideburn: f32,
    pub(crate) strands: u64,
}

/// Colour of the skin and the marks on it.
#[derive(Clone, Debug)]
pub(crate) struct Skin {
    pub(crate) tone: Rgb,
    pub(crate) blush: f32,
    pub(crate) cheekbones: f32,
    pub(crate) creases: f32,
    pub(crate) freckles: Vec<(f32, f32, f32)>,
    pub(crate) moles: Vec<(f32, f32, f32)>,
    pub(crate) beard: Beard,
    pub(crate) beard_density: f32,
    pub(crate) beard_line: f32,
    pub(crate) beard_colour: Rgb,
    pub(crate) moustache: f32,
}

/// A person as this project draws them: about seventy traits from one seed.
///
/// Two photos of one person share the identity and differ in their [`Nuisance`](super::Nuisance).
#[derive(Clone, Debug)]
pub struct PortraitIdentity {
    seed: u64,
    traits: Vec<f32>,
    pub(crate) head: Head,
    pub(crate) eyes: Eyes,
    pub(crate) brows: Brows,
    pub(crate) nose: Nose,
    pub(crate) mouth: Mouth,
    pub(crate) hair: Hair,
    pub(crate) skin: Skin,
}

/// Draws traits and keeps the place of each in its range.
struct Dice {
    stream: Stream,
    traits: Vec<f32>,
}

impl Dice {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        let place = self.stream.unit();
        self.traits.push(place);
        low + (high - low) * place
    }
}

impl PortraitIdentity {
    /// The person of this seed, always the same one.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice { stream: Stream::new(seed, PURPOSE), traits: Vec::with_capacity(72) };
        let d = &mut dice;
        let head = Head {
            forehead: d.between(0.84, 1.02),
            skull: d.between(1.18, 1.42),
            cheek: d.between(0.86, 1.06),
            jaw: d.between(0.60, 0.88),
            jaw_height: d.between(0.70, 0.95),
            chin: d.between(1.20, 1.48),
            chin_width: d.between(0.20, 0.46),
            skew: d.between(-0.04, 0.04),
            ear_size: d.between(0.20, 0.34),
            ear_height: d.between(-0.02, 0.22),
            ear_width: d.between(0.06, 0.17),
            neck: d.between(0.40, 0.56),
        };
        let style = HairStyle::at(d.between(0.0, 1.0));
        let hair_colour = hair_colour_of(d);
        let skin = skin_of(d, style, hair_colour);
        let eyes = Eyes {
            spacing: d.between(0.35, 0.47),
            width: d.between(0.145, 0.225),
            height: d.between(0.060, 0.125),
            tilt: d.between(-0.22, 0.22),
            peak: d.between(-0.35, 0.35),
            iris_size: d.between(0.070, 0.105),
            iris: {
                let base = Rgb::on_scale(&IRIS, d.between(0.0, 1.0));
                base.scaled(d.between(0.75, 1.25))
            },
            fold: d.between(0.0, 1.0),
            lashes: d.between(0.0, 1.0),
            bags: d.between(0.0, 1.0),
            shadow: d.between(0.0, 1.0),
            uneven: d.between(-0.025, 0.025),
        };
        let brows = Brows {
            height: d.between(0.20, 0.34),
            length: d.between(0.19, 0.31),
            thickness: d.between(0.014, 0.062),
            arch: d.between(-0.01, 0.085),
            slope: d.between(-0.09, 0.09),
            taper: d.between(0.1, 0.9),
            inner: d.between(-0.08, 0.05),
            colour: hair_colour.scaled(d.between(0.45, 0.95)),
            uneven: d.between(-0.03, 0.03),
        };
        let nose = Nose {
            length: d.between(0.40, 0.62),
            width: d.between(0.12, 0.27),
            bridge: d.between(0.04, 0.12),
            tip: d.between(0.06, 0.15),
            wing: d.between(0.04, 0.10),
            droop: d.between(-0.05, 0.07),
            skew: d.between(-0.035, 0.035),
            height: d.between(0.12, 0.28),
        };
        let mouth = Mouth {
            gap: d.between(0.20, 0.36),
            width: d.between(0.20, 0.37),
            upper: d.between(0.025, 0.085),
            lower: d.between(0.035, 0.115),
            bow: d.between(0.0, 0.045),
            corners: d.between(-0.035, 0.045),
            colour: {
                let warm = skin.tone.mix(Rgb::hex(0xb8434f), d.between(0.25, 0.75));
                warm.scaled(d.between(0.72, 1.0))
            },
            skew: d.between(-0.03, 0.03),
        };
        let hair = Hair {
            style,
            colour: hair_colour,
            hairline: d.between(-0.86, -0.60),
            volume: d.between(0.04, 0.26),
            sides: d.between(0.03, 0.14),
            part: d.between(-0.55, 0.55),
            length: d.between(0.0, 1.0),
            wave: d.between(0.0, 1.0),
            sideburn: d.between(-0.10, 0.30),
            strands: d.stream.word(),
        };
        let Dice { traits, .. } = dice;
        Self { seed, traits, head, eyes, brows, nose, mouth, hair, skin }
    }

    /// The seed this person was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The place of every continuous trait in its range, each in 0..1, always in the same order: what a
    /// network that should tell people apart has to see. Its length is the same for every identity.
    pub fn traits(&self) -> &[f32] {
        &self.traits
    }

    /// Height of the mouth's centre below the eyes.
    pub(crate) fn mouth_height(&self) -> f32 {
        // A long nose over a short chin would leave no room for the lips.
        (self.nose.length + self.mouth.gap).min(self.head.chin - 0.30)
    }
}

fn skin_of(d: &mut Dice, style: HairStyle, hair: Rgb) -> Skin {
    let base = Rgb::on_scale(&SKIN, d.between(0.0, 1.0));
    let undertone = d.between(-1.0, 1.0);
    let tone = Rgb::new(base.r * (1.0 + 0.02 * undertone), base.g, base.b * (1.0 - 0.055 * undertone));
    let blush = d.between(0.0, 0.5);
    let cheekbones = d.between(0.0, 1.0);
    let creases = (d.between(-0.6, 1.0)).max(0.0);
    let spotted = d.between(-1.6, 1.0);
    let freckles = if spotted > 0.0 {
        (0..(12.0 + spotted * 50.0) as usize)
            .map(|_| {
                let (x, y) = (d.stream.bell() * 0.36, 0.34 + d.stream.bell() * 0.13);
                (x, y, d.stream.between(0.010, 0.021))
            })
            .collect()
    } else {
        Vec::new()
    };
    let count = d.between(0.0, 3.4) as usize;
    let moles = (0..count)
        .map(|_| {
            let side = if d.stream.chance(0.5) { 1.0 } else { -1.0 };
            (
                side * d.stream.between(0.22, 0.72),
                d.stream.between(0.15, 0.98),
                d.stream.between(0.017, 0.036),
            )
        })
        .collect();
    // Long hair and a beard seldom meet.
    let beards = if style.is_long() { 48.0 } else { 8.0 };
    let beard = match d.between(0.0, beards) as usize {
        0 => Beard::Stubble,
        1 => Beard::Moustache,
        2 => Beard::Goatee,
        3 => Beard::Full,
        _ => Beard::None,
    };
    let beard_density = d.between(0.0, 1.0);
    let beard_line = d.between(0.0, 1.0);
    let moustache = d.between(0.0, 1.0);
    Skin {
        tone,
        blush,
        cheekbones,
        creases,
        freckles,
        moles,
        beard,
        beard_density,
        beard_line,
        beard_colour: hair.scaled(0.8),
        moustache,
    }
}

fn hair_colour_of(d: &mut Dice) -> Rgb {
    let base = Rgb::on_scale(&HAIR, d.between(0.0, 1.0));
    let dye = d.between(0.0, 1.0);
    // One head in twelve is dyed; the hue then follows from the same draw.
    let natural = base.scaled(d.between(0.8, 1.2));
    if dye > 0.917 { Rgb::hsv((dye - 0.917) / 0.083, 0.55, 0.75).mix(base, 0.2) } else { natural }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_one_person() {
        let (one, same, other) =
            (PortraitIdentity::from_seed(5), PortraitIdentity::from_seed(5), PortraitIdentity::from_seed(6));
        assert_eq!(one.traits(), same.traits());
        assert_ne!(one.traits(), other.traits());
        assert_eq!(one.seed(), 5);
    }

    #[test]
    fn every_identity_has_the_same_many_traits() {
        let count = PortraitIdentity::from_seed(0).traits().len();
        assert!(count >= 60, "{count} traits");
        for seed in 0..500 {
            let identity = PortraitIdentity::from_seed(seed);
            assert_eq!(identity.traits().len(), count);
            assert!(identity.traits().iter().all(|place| (0.0..1.0).contains(place)));
            assert!(identity.mouth_height() + 0.25 < identity.head.chin);
        }
    }
}
