/// How the report looks: its style sheet, and the patterns that tell layers apart without colour.
enum ReportStyle {
    /// Texts are at least 4.5 : 1 against what is behind them, drawings 3 : 1, in both themes. On
    /// narrow screens every row of the fleet's table becomes a card; everything else that may be
    /// wide scrolls by itself.
    static let sheet: HTML = """
        :root{color-scheme:light dark;--page:#f6f6f3;--card:#fff;--text:#1c2126;--soft:#59626b;--line:#dcded9;--link:#0b5394;
        --good:#17693a;--bad:#a8201a;--busy:#0b5394;--old:#7a4a00;--good-back:#e3f3e8;--bad-back:#fce8e6;--busy-back:#e4eefa;--old-back:#fbeed7;
        --c0:#1668b0;--c1:#b8590a;--c2:#0a7f61;--c3:#8a4fb8;--c4:#7d6608;--c5:#b23a72;--cz:#6f7780;--mark:#ffffff85;--empty:#ecedea;--edge:#787f86}
        @media (prefers-color-scheme:dark){:root{--page:#121518;--card:#1a1e22;--text:#e5e8ea;--soft:#a1aab2;--line:#333a40;--link:#7db9f5;
        --good:#7fd6a0;--bad:#ff9d94;--busy:#8cc2fa;--old:#f0bd6c;--good-back:#17301f;--bad-back:#3b1c1a;--busy-back:#17293d;--old-back:#362810;
        --c0:#5aa6ee;--c1:#ef9a52;--c2:#45c6a0;--c3:#c08df0;--c4:#d3ba4c;--c5:#ee82b4;--cz:#939ca5;--mark:#0b0d0f80;--empty:#262b30;--edge:#6d757c}}
        *{box-sizing:border-box}
        html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
        body{margin:0 auto;max-width:72rem;padding:2rem 1.5rem 3rem;background:var(--page);color:var(--text);
        font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}
        code{font:.92em/1.4 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
        a{color:var(--link);text-underline-offset:.15em}
        :focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:2px}
        .skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.5rem 1rem}
        .defs{position:absolute;width:0;height:0}
        .brand{margin:0;color:var(--soft);font-size:.875rem;letter-spacing:.02em}
        h1{margin:0;font-size:clamp(1.5rem,1.1rem + 2vw,2.25rem);line-height:1.2;letter-spacing:-.015em;font-weight:650}
        .facts{margin:.4rem 0 0;color:var(--soft)}
        section{margin:2.75rem 0 0}
        h2{margin:0 0 .75rem;font-size:1.25rem;line-height:1.3;font-weight:650}
        h2.quiet{font-size:1rem;color:var(--soft);font-weight:500}
        h3{margin:0;font-size:1rem;font-weight:600;display:inline}
        .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem;margin:0;padding:0;list-style:none}
        .tiles li{background:var(--card);border:1px solid var(--line);border-top:4px solid currentColor;border-radius:8px;padding:.7rem 1rem .8rem}
        .tiles strong{display:block;font-size:2rem;line-height:1.15;font-weight:650;font-variant-numeric:tabular-nums}
        .done{color:var(--good)}.failed{color:var(--bad)}.running{color:var(--busy)}.stale,.changed{color:var(--old)}.waiting{color:var(--soft)}
        .tiles .none{color:var(--soft)}
        .badge{display:inline-block;white-space:nowrap;font-size:.875rem;font-weight:600;border-radius:99px;padding:.05rem .6rem}
        .badge.done{background:var(--good-back)}.badge.failed{background:var(--bad-back)}.badge.running{background:var(--busy-back)}
        .badge.stale,.badge.changed{background:var(--old-back)}.badge.waiting{background:var(--empty)}
        .failures ul{margin:0;padding:0;list-style:none;background:var(--card);border:1px solid var(--line);border-left:4px solid var(--bad);border-radius:8px}
        .failures li{padding:.6rem 1rem}.failures li+li{border-top:1px solid var(--line)}
        .failures b{display:block;font-weight:600}
        .reason{margin:0 0 1rem;padding:.5rem .8rem;border-left:4px solid var(--bad);background:var(--bad-back)}
        .lead{margin:0 0 .75rem;font-size:1.125rem}
        .scroll{overflow-x:auto;max-width:100%}
        table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line);border-radius:8px}
        caption{caption-side:bottom;text-align:left;color:var(--soft);font-size:.875rem;padding:.5rem 0 0}
        th,td{padding:.5rem .8rem;text-align:left;vertical-align:top;font-weight:400;border-top:1px solid var(--line)}
        thead th{border-top:0;color:var(--soft);font-size:.875rem;font-weight:500;vertical-align:bottom}
        tfoot th,tfoot td{font-weight:600}
        .n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
        .note{color:var(--soft);font-size:.875rem}
        .fleet tbody th{font-weight:500;min-width:11rem}
        @media (min-width:72rem){.fleet{table-layout:fixed}.fleet thead th:nth-child(2){width:9rem}.fleet thead th.n{width:6.6rem}.fleet thead th:nth-child(7){width:13rem}}
        .shares{max-width:46rem}.shares tbody th{min-width:12rem}
        figure{margin:0}figcaption{color:var(--soft);font-size:.875rem;margin-top:.4rem}
        svg{display:block}.bar,.map,.strip,.key{outline:1px solid var(--edge);outline-offset:-1px}
        .bar,.map{width:100%;height:auto;background:var(--empty);border-radius:4px}
        .bar{margin-bottom:.75rem}
        .axis{display:flex;justify-content:space-between;color:var(--soft);font-size:.875rem;font-variant-numeric:tabular-nums;margin:.2rem 0 1rem}
        .strip{width:11rem;height:1.5rem;background:var(--empty);border-radius:3px}
        .key{display:inline-block;width:1rem;height:1rem;margin-right:.55rem;vertical-align:-.15rem;background:var(--empty);border-radius:3px}
        .chart{width:100%;height:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}
        .chart text{fill:var(--soft);font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums}
        .grid{stroke:var(--line);fill:none}.line{stroke:var(--c0);stroke-width:1.75;fill:none;stroke-linejoin:round}
        .area{fill:var(--c0);opacity:.16}.pause{stroke:var(--soft);stroke-dasharray:3 4;fill:none}
        .s0,.r0{fill:var(--c0)}.s1,.r1{fill:url(#p1)}.s2,.r2{fill:url(#p2)}.s3{fill:url(#p3)}.s4{fill:url(#p4)}.s5{fill:url(#p5)}.sz{fill:url(#pz)}
        .sh{fill:none}.r3{fill:var(--empty);stroke:none}
        .defs path{stroke:var(--mark);stroke-width:1.5;fill:none}.defs circle{fill:var(--mark)}
        .b1{fill:var(--c1)}.b2{fill:var(--c2)}.b3{fill:var(--c3)}.b4{fill:var(--c4)}.b5{fill:var(--c5)}.bz{fill:var(--cz)}
        .narrow{display:none}[hidden]{display:none!important}
        .unseen{position:absolute;left:-99rem}
        .tools{display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;align-items:baseline;margin:0 0 1rem}.tools output{color:var(--soft)}
        .tools input,.tools select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--edge);border-radius:6px;padding:.2rem .5rem;max-width:100%}
        .group table{color:var(--text)}
        .group{margin:0 0 .75rem}.group>summary{padding:.5rem .25rem;color:inherit}.group h3{color:var(--text)}
        .why{margin:.25rem 0 0;font-weight:400;font-size:.875rem;max-width:38rem}.failed .why{color:var(--bad)}.changed .why,.stale .why{color:var(--old)}
        .tiles a{color:inherit}
        .card{background:var(--card);border:1px solid var(--line);border-radius:8px;margin:0 0 .5rem}
        summary{padding:.6rem 1rem;cursor:pointer}summary .badge{margin-left:.5rem}
        .inside{padding:.25rem 1rem 1rem;scroll-margin-top:4rem}
        .inside table{border:0}
        dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(7rem,1fr));gap:.6rem 1.5rem;margin:0 0 1rem}
        dt{color:var(--soft);font-size:.875rem}dd{margin:0;font-variant-numeric:tabular-nums}
        dl div:has(code){grid-column:1/-1}
        footer{margin-top:3rem;color:var(--soft);font-size:.875rem}
        @media (max-width:44rem){body{padding:1.25rem 1rem 2rem}section{margin-top:2rem}
        .tiles{grid-template-columns:repeat(auto-fit,minmax(6.2rem,1fr));gap:.5rem}.tiles li{padding:.5rem .7rem}
        .fleet{display:block;background:none;border:0}
        .fleet thead{position:absolute;left:-99rem}
        .fleet tbody{display:block}.fleet tr{display:grid;grid-template-columns:1fr 1fr;gap:.15rem 1rem;background:var(--card);border:1px solid var(--line);
        border-radius:8px;padding:.7rem .9rem;margin-bottom:.6rem}
        .large .group.done tr{content-visibility:auto;contain-intrinsic-size:auto 13rem}
        .fleet tr>*{border:0;padding:0;text-align:left}.fleet tbody th{grid-column:1/-1;font-weight:600}
        .fleet td:nth-child(2),.fleet td:nth-child(7){grid-column:1/-1;margin:.15rem 0}
        .fleet td.n::before{display:block;color:var(--soft);font-size:.8125rem}
        .fleet td:nth-child(3)::before{content:"Guest disk"}.fleet td:nth-child(4)::before{content:"Data"}
        .fleet td:nth-child(5)::before{content:"Target"}.fleet td:nth-child(6)::before{content:"Time"}
        .fleet td.none{display:none}.strip{width:100%}.wide{display:none}.narrow{display:block}.shares .note{display:block;padding-left:1.55rem}.shares tbody th{min-width:9rem}th,td{padding:.45rem .6rem}}
        @media print{.large .group.done tr{content-visibility:visible}body{max-width:none;background:none}.scroll{overflow:visible}}
        @media (forced-colors:active){svg{forced-color-adjust:none}.badge{border:1px solid}}
        """

    /// The base is plain; what lies above it and the zeros each have a pattern of their own, for
    /// those who see no colours and for paper.
    static let patterns: HTML = """
        <svg class="defs" aria-hidden="true"><defs>\
        <pattern id="p1" width="8" height="8" patternUnits="userSpaceOnUse"><rect class="b1" width="8" height="8"/><path d="M-2 2l4-4M0 8l8-8M6 10l4-4"/></pattern>\
        <pattern id="p2" width="8" height="8" patternUnits="userSpaceOnUse"><rect class="b2" width="8" height="8"/><circle cx="2" cy="2" r="1.3"/><circle cx="6" cy="6" r="1.3"/></pattern>\
        <pattern id="p3" width="8" height="8" patternUnits="userSpaceOnUse"><rect class="b3" width="8" height="8"/><path d="M0 4h8"/></pattern>\
        <pattern id="p4" width="8" height="8" patternUnits="userSpaceOnUse"><rect class="b4" width="8" height="8"/><path d="M-2 6l4 4M0 0l8 8M6-2l4 4M0 8l8-8"/></pattern>\
        <pattern id="p5" width="8" height="8" patternUnits="userSpaceOnUse"><rect class="b5" width="8" height="8"/><path d="M4 0v8"/></pattern>\
        <pattern id="pz" width="4" height="4" patternUnits="userSpaceOnUse"><rect class="bz" width="4" height="4"/><circle cx="2" cy="2" r="1"/></pattern>\
        </defs></svg>
        """
}
