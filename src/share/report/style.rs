//! How the page looks: quiet, dense, light or dark as the reader's system is.

/// The style sheet.
pub(super) const STYLE: &str = "\
:root{--bg:#fbfbfa;--fg:#1d2125;--dim:#6b737c;--line:#dfe2e5;--accent:#12806f;--bar:#4a7fd6}\
@media(prefers-color-scheme:dark){:root{--bg:#15191d;--fg:#e6e9ec;--dim:#8c959e;--line:#2b3138;--accent:#35c2b0;--bar:#6a9bf0}}\
body{background:var(--bg);color:var(--fg);font:14px/1.45 system-ui,sans-serif;margin:0}\
main{max-width:1000px;margin:0 auto;padding:24px}\
h1{font-size:26px;margin:0 0 16px}h2{font-size:16px;margin:28px 0 8px}\
p{color:var(--dim);margin:0 0 4px}\
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:0}\
dl div{border-top:2px solid var(--accent);padding-top:6px}\
dt{color:var(--dim)}dd{margin:0;font-size:22px;font-variant-numeric:tabular-nums}\
dd small{display:block;font-size:12px;color:var(--dim)}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}\
th{text-align:left;color:var(--dim);font-weight:500}\
th,td{padding:3px 10px 3px 0;border-bottom:1px solid var(--line)}\
th:nth-child(n+4),td:nth-child(n+4){text-align:right}\
th,td{white-space:nowrap}\
div.wide{overflow-x:auto}\
ul{display:flex;flex-wrap:wrap;gap:4px 20px;list-style:none;margin:8px 0 0;padding:0;color:var(--dim);font-size:13px}\
li i{display:inline-block;width:9px;height:9px;margin-right:6px}li b{font-weight:500;color:var(--fg);font-variant-numeric:tabular-nums}\
svg.stacked{height:22px}\
pre{border:1px solid var(--line);padding:10px;overflow-x:auto;font-size:12px}\
svg{display:block;width:100%;height:auto;overflow:visible}svg text{fill:var(--dim);font-size:11px}\
@media(max-width:600px){svg text{font-size:22px}}\
footer{margin-top:28px;color:var(--dim)}";
