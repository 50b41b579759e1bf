//! One cluster by itself, as the live pages show it within a page of their own.

use minijinja::Value;
use records::tables::Tables;
use serde::Serialize;

use crate::cluster_view::{Cluster, ClusterView};
use crate::page::{HtmlOptions, RenderError, environment};
use crate::pictures::Album;
use crate::snapshot::{Indexed, Thumbnails};

/// The style sheet that pages and fragments are written for.
pub const STYLE: &str = include_str!("../templates/style.css");

#[derive(Serialize)]
struct Fragment {
    images: Vec<String>,
    cluster: ClusterView,
}

/// What the page of a snapshot says about its first cluster: pictures, graph, reasons, timeline, members, victims. Empty
/// if the tables hold no cluster. Asks for nothing from outside: thumbnails stand in it as `data:` URLs.
///
/// # Errors
/// [`RenderError`] if a template is at fault.
pub fn cluster_fragment(
    tables: &Tables,
    thumbnails: &Thumbnails,
    options: &HtmlOptions,
) -> Result<String, RenderError> {
    let Some(row) = tables.clusters.first() else { return Ok(String::new()) };
    let indexed = Indexed::new(tables);
    let mut album = Album::new(options.thumbnails.then_some(thumbnails), options.thumbnail_bytes);
    let cluster = Cluster { number: 0, row, indexed: &indexed, differences: None }.view(options, &mut album);
    let fragment = Fragment { images: album.images, cluster };
    let context = Value::from(minijinja::value::Serde(&fragment));
    Ok(environment()?.get_template("fragment.html")?.render(context)?)
}
