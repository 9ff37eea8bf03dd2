"""How the page looks, with the fonts of the visitor's system; light and dark follow Gradio's."""

STYLE = """
[data-spoken=en] .zh,[data-spoken=zh] .en,html:not([data-spoken]) .zh{display:none}
body{background:var(--body-background-fill)}
.gradio-container{width:100%;max-width:1180px!important;margin:0 auto!important;
padding:0!important}
.main.fillable{padding:clamp(0px,2vw,16px) clamp(12px,3vw,32px) 48px!important}
.html-container{padding:0!important}
.gradio-container main{padding:0!important;width:100%;max-width:none!important}
.gradio-container main>.wrap{width:100%}
span.en,span.zh{color:inherit!important}
#results,#copies,#told,#picked{padding:0!important}
footer{display:none!important}
#head{align-items:center;gap:14px;flex-wrap:wrap;padding:10px 0 2px}
#head>.block{margin:0!important}
#head>:first-child{margin-right:auto!important;flex:0 0 auto!important;width:auto!important;
min-width:0!important}
#head>.block,#head>.form{border:0;box-shadow:none;background:transparent;padding:0}
.brand{display:flex;align-items:baseline;gap:10px;white-space:nowrap}
.brand b{font-size:1.5rem;letter-spacing:.02em}
.brand span{color:var(--body-text-color-subdued);font-size:.95rem}
#language{min-width:auto!important;flex:none!important;width:auto!important}
#language .wrap{flex-wrap:nowrap;gap:0;border:1px solid var(--border-color-primary);
border-radius:999px;overflow:hidden;background:var(--block-background-fill)}
#language label{border:0;border-radius:999px;box-shadow:none;background:transparent;
padding:5px 14px;cursor:pointer;color:var(--body-text-color-subdued)}
#language label.selected{background:var(--primary-600);color:#fff}
#language label.selected span{color:#fff}
#language input{position:absolute;opacity:0;width:1px;height:1px}
#language label span{margin:0}
#language label:focus-within{outline:3px solid var(--primary-300)}
#collection{flex:0 1 220px!important;min-width:140px!important}
#ask{align-items:center;gap:10px;flex-wrap:nowrap;background:var(--block-background-fill);
border:1px solid var(--border-color-primary);border-radius:18px;padding:8px 8px 8px 14px;
box-shadow:0 2px 14px rgba(20,25,40,.06);transition:border-color .15s,box-shadow .15s}
#ask:focus-within,.dropping #ask{border-color:var(--primary-500);
box-shadow:0 0 0 4px color-mix(in srgb,var(--primary-500) 16%,transparent)}
#ask .block,#ask .form{border:0!important;background:transparent!important;padding:0!important;
box-shadow:none!important;overflow:visible}
#ask .form{flex:1 1 auto;min-width:0!important}
#words textarea,#words input{border:0!important;box-shadow:none!important;
background:transparent!important;font-size:1.08rem;padding:9px 0!important;
min-height:0!important;line-height:1.5}
#words .input-container{align-items:center}
#picture{flex:none!important;min-width:0!important;width:auto!important;align-self:center}
.pick{display:flex;align-items:center;gap:8px;cursor:pointer;border-radius:12px;padding:7px 11px;
color:var(--body-text-color-subdued);white-space:nowrap}
.pick:hover{background:var(--background-fill-secondary);color:var(--body-text-color)}
.pick:focus-within{outline:3px solid var(--primary-300)}
.pick input{position:absolute;opacity:0;width:1px;height:1px}
.pick svg{width:22px;height:22px;flex:none}
.chosen{position:relative;display:block}
.chosen img,.chosen .file{width:46px;height:46px;border-radius:10px;object-fit:cover;display:grid;
place-items:center;background:var(--background-fill-secondary)}
.chosen button{position:absolute;top:-7px;right:-7px;width:22px;height:22px;border-radius:50%;
padding:0;min-width:0;display:grid;place-items:center;font-size:.9rem;border:0;background:var(--body-text-color);color:var(--body-background-fill);line-height:1;
cursor:pointer}
#go{flex:none!important;min-width:104px!important;border-radius:12px;align-self:center;height:44px}
#more{border:0!important;background:transparent!important;box-shadow:none!important;
padding:0 4px!important}
#more>button.label-wrap{padding:6px 4px;color:var(--body-text-color-subdued);font-weight:500;
width:auto;gap:8px}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:12px 0 14px}
.chip{display:inline-flex;align-items:center;gap:6px;max-width:100%;border-color:transparent;
background:color-mix(in srgb,var(--primary-500) 14%,transparent)}
.chip>span:first-child{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.chip i{font-style:normal;font-size:1.1em;line-height:1}
.do.clear{border-color:transparent;background:transparent;
color:var(--body-text-color-subdued)}
#more [data-testid=block-info],.day>span{background:none!important;padding:0!important;
color:var(--body-text-color-subdued)!important;font-weight:500;font-size:.86rem!important;
box-shadow:none!important;border:0!important}
.day{display:flex;flex-direction:column;gap:var(--spacing-lg);font-size:var(--block-label-text-size)}
.day input{font:inherit;font-size:var(--input-text-size);padding:var(--input-padding);
border:var(--input-border-width) solid var(--input-border-color);min-height:42px;
border-radius:var(--input-radius);background:var(--input-background-fill);
color:var(--body-text-color);width:100%;color-scheme:light}
.dark .day input{color-scheme:dark}
#since,#until{padding:var(--block-padding)!important;background:var(--block-background-fill)}
.found h3,.copies h3{font-size:1rem;font-weight:600;margin:22px 0 10px}
.found .divider{display:flex;align-items:center;gap:14px;color:var(--body-text-color-subdued)}
.found .divider:after{content:"";flex:1;border-top:1px solid var(--border-color-primary)}
.tries{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin:12px 0 0;
color:var(--body-text-color-subdued)}
.do{border:1px solid var(--border-color-primary);background:var(--block-background-fill);
color:var(--body-text-color);border-radius:999px;padding:4px 12px;font:inherit;font-size:.85rem;
cursor:pointer}
.do:hover{border-color:var(--primary-500);color:var(--primary-600)}
.dark .do:hover{color:var(--primary-300)}
.do:focus-visible,.shown:focus-visible,summary:focus-visible{outline:3px solid var(--primary-300);
outline-offset:1px}
ul.cards{list-style:none!important;margin:0!important;padding:0!important;display:grid;gap:16px;
grid-template-columns:repeat(auto-fill,minmax(198px,1fr));align-items:start}
ul.cards.small{grid-template-columns:repeat(auto-fill,minmax(110px,1fr));gap:10px}
.card{margin:0!important;background:var(--block-background-fill);overflow:hidden;
border:1px solid var(--border-color-primary);border-radius:14px;display:flex;
flex-direction:column;transition:box-shadow .15s}
.card:hover{box-shadow:0 6px 22px rgba(20,25,40,.1)}
.far .card .shown,.far .card blockquote{opacity:.62}
.shown{display:block;padding:0;border:0;width:100%;cursor:zoom-in;line-height:0;
background:var(--background-fill-secondary)}
.shown img{width:100%;aspect-ratio:4/3;object-fit:cover;margin:0!important;display:block}
.card blockquote{margin:0!important;border:0!important;padding:14px 16px!important;
aspect-ratio:4/3;overflow:hidden;font-size:.88rem;line-height:1.55;font-style:normal;
overflow-wrap:anywhere;background:var(--background-fill-secondary);color:var(--body-text-color)}
#modality .wrap{gap:8px}#modality label{border-radius:999px;padding:5px 14px}
.told{padding:10px 12px 12px;display:flex;flex-direction:column;gap:5px}
.name{font-weight:600;font-size:.9rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.sure,.note{font-size:.8rem;color:var(--body-text-color-subdued);overflow-wrap:anywhere}
.bar{display:block;height:4px;border-radius:2px;background:var(--border-color-primary)}
.bar i{display:block;height:100%;border-radius:inherit;background:var(--primary-500)}
.far .bar i{background:var(--body-text-color-subdued)}
.acts{display:flex;flex-wrap:wrap;gap:6px 10px;align-items:center;margin-top:3px}
.why{font-size:.82rem;color:var(--body-text-color-subdued)}
.why[open]{flex-basis:100%}
.remove p{margin:6px 0!important;font-size:.8rem}
.grave{color:#b3261e;border-color:currentColor}.dark .grave{color:#ffb4ab}
.line{align-items:center;gap:12px;margin:4px 0}.line p{margin:0!important}
.line>button{align-self:end;flex:none!important;width:136px;min-width:136px!important;height:44px}
.line>.block,.line>.form{flex:1 1 300px!important;min-width:0!important}
#cancel{width:136px;min-width:136px}
#job .chips small{color:var(--body-text-color-subdued)}#job a.do{text-decoration:none}
.why summary,.explain summary{cursor:pointer}
.why ul{margin:6px 0 0!important;padding-left:16px!important}
.why li{margin:2px 0!important;font-size:.8rem}
.same{font-size:.8rem;color:var(--body-text-color-subdued)}
.same summary{cursor:pointer;width:max-content;color:var(--primary-600);font-weight:500}
.dark .same summary{color:var(--primary-300)}
.same ul{list-style:none!important;margin:6px 0 0!important;padding:0!important}
.same li{display:flex;align-items:center;gap:8px;margin:4px 0!important;min-width:0}
.same li>span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.same .shown{width:48px;flex:none;border-radius:8px;overflow:hidden}
.keep{background:var(--primary-600);color:#fff;border-radius:999px;padding:1px 9px;
font-size:.76rem;margin-left:4px}
.notice{border-radius:14px;padding:14px 18px;margin:14px 0;border:1px solid
var(--border-color-primary);background:var(--block-background-fill)}
.notice p{margin:4px 0 0!important}
.notice .detail{font-size:.84rem;color:var(--body-text-color-subdued);overflow-wrap:anywhere}
.notice.far{background:#fff7e8;border-color:#f1d9a8;color:#6a4300}
.notice.wrong{background:#fdf0ef;border-color:#f0c5c1;color:#7c1d14}
.notice.wrong .detail,.notice.far p{color:inherit;opacity:.88}
.notice strong{color:inherit}
.dark .notice.far{background:#33270f;border-color:#5c4719;color:#ffdfa6}
.dark .notice.wrong{background:#371a18;border-color:#66302b;color:#ffc9c3}
.like{display:flex;gap:16px;align-items:center;margin:16px 0}
.like .shown{width:112px;border-radius:12px;overflow:hidden;flex:none}
.like>div{display:flex;flex-direction:column;gap:4px;align-items:flex-start}
.like .kind{color:var(--body-text-color-subdued);font-size:.88rem}
.pager{display:flex;justify-content:center;align-items:center;gap:18px;margin:26px 0 8px}
.pager .do{padding:7px 18px;font-size:.92rem}
.explain{margin:24px 0 0;padding:12px 16px;border-radius:14px;font-size:.88rem;
border:1px solid var(--border-color-primary);background:var(--block-background-fill)}
.explain .wide{overflow-x:auto}
.explain table{width:100%;border-collapse:collapse;margin-top:10px;font-size:.82rem}
.explain td,.explain th{border:0!important;border-bottom:1px solid
var(--border-color-primary)!important;text-align:left;padding:6px 10px 6px 0!important;
vertical-align:top}
.remark{color:var(--body-text-color-subdued);margin:10px 0 0!important;font-size:.92rem}
.closing{color:var(--body-text-color-subdued);font-size:.82rem;text-align:center;margin-top:34px}
#map{border:1px solid var(--border-color-primary);border-radius:14px;
background:var(--block-background-fill)}
.plane{--land:#e3e9f2;--shore:#c3cede;--text:#2f6fdb;--caption:#e08e45;position:relative;
height:clamp(360px,64vh,640px);overflow:hidden;border-radius:14px;touch-action:pan-y;cursor:grab;
user-select:none}
.dark .plane{--land:#2a3750;--shore:#42526f;--text:#7aa7f5;--caption:#efb27c}
.plane:active{cursor:grabbing}
.plane:focus-visible{outline:3px solid var(--primary-300);outline-offset:-3px}
.plane canvas{position:absolute;inset:0;width:100%;height:100%}
.spots{position:absolute;inset:0;pointer-events:none}
.spot{position:absolute;left:0;top:0;width:60px;height:60px;padding:0;border-radius:10px;
border:2px solid #fff;background:var(--background-fill-secondary);pointer-events:auto;
cursor:pointer;box-shadow:0 2px 8px rgba(20,25,40,.28)}
.dark .spot{border-color:#55637d}
.spot img{width:100%;height:100%;object-fit:cover;border-radius:8px;display:block;
margin:0!important;pointer-events:none}
.spot span{position:absolute;top:-8px;right:-8px;min-width:20px;padding:0 5px;border-radius:10px;
background:var(--primary-600);color:#fff;font-size:.72rem;line-height:20px;font-weight:600}
.spot span:empty{display:none}
.spot:hover,.spot:focus-visible{z-index:2;border-color:var(--primary-500);outline:0}
.tools{position:absolute;right:10px;bottom:10px;display:flex;flex-direction:column;gap:6px}
.tools .do{width:36px;height:36px;padding:0;font-size:1.1rem;border-radius:10px}
.peek{position:absolute;left:0;top:0;z-index:4;pointer-events:none;max-width:220px;padding:6px 10px;
border-radius:10px;font-size:.8rem;line-height:1.4;overflow-wrap:anywhere;
background:var(--block-background-fill);border:1px solid var(--border-color-primary);
box-shadow:0 4px 16px rgba(20,25,40,.2)}
.peek[hidden]{display:none}
.turn{margin:10px 0;max-width:min(46rem,92%);width:fit-content;
padding:10px 14px;border-radius:16px;border:1px solid var(--border-color-primary);
background:var(--block-background-fill)}
.turn p{margin:0!important;white-space:pre-wrap;overflow-wrap:anywhere}
.turn.you{margin-left:auto;border-color:transparent;
background:color-mix(in srgb,var(--primary-500) 14%,transparent)}
.turn.you img{display:inline-block;width:72px;height:72px;object-fit:cover;border-radius:10px;
margin:0 8px 8px 0!important}
.turn .waiting{color:var(--body-text-color-subdued)}
#turns,#current,#answers,#coming{padding:0!important;border:0;background:transparent}
:is(#question-row,#inquiry-row){align-items:center;gap:10px;flex-wrap:nowrap;background:var(--block-background-fill);
border:1px solid var(--border-color-primary);border-radius:18px;padding:8px 8px 8px 14px;
margin-top:10px}
:is(#question-row,#inquiry-row):focus-within{border-color:var(--primary-500);
box-shadow:0 0 0 4px color-mix(in srgb,var(--primary-500) 16%,transparent)}
:is(#question-row,#inquiry-row) :is(.block,.form){border:0!important;
background:transparent!important;padding:0!important;box-shadow:none!important;overflow:visible}
:is(#question-row,#inquiry-row) .form{flex:1 1 auto;min-width:0!important}
:is(#question,#inquiry) :is(textarea,input){border:0!important;box-shadow:none!important;
background:transparent!important;font-size:1.08rem;padding:9px 0!important;
min-height:0!important;line-height:1.5}
#talk-pictures{flex:none!important;min-width:0!important;width:auto!important;max-width:55%}
#talk-pictures .pick{padding:7px 8px}
#talk-pictures .prose,#talk-pictures .html-container>div{display:flex;flex-wrap:wrap;gap:10px;
align-items:center}
:is(#ask-now,#inquire){flex:none!important;min-width:104px!important;border-radius:12px;height:44px}
:is(#talk-acts,#inquiry-acts){gap:8px;justify-content:flex-end}
:is(#talk-acts,#inquiry-acts) button{flex:none!important;width:auto!important;min-width:0!important;
border-radius:999px;padding:4px 14px}
body:not(:has(#current .writing)) #ask-stop,
body:not(:has(#coming .writing)) #inquiry-stop{visibility:hidden}
#inquiry-row{margin-top:10px;padding-left:18px}
#inquiry-mode{margin-right:auto!important;flex:none!important;width:auto!important;
min-width:0!important;border:0;background:transparent;padding:0;box-shadow:none}
#inquiry-mode .wrap{gap:8px}#inquiry-mode label{border-radius:999px;padding:3px 12px}
.turn.cited{width:100%;max-width:min(56rem,100%)}
.turn.cited>:first-child{margin-top:0!important}
.cited .note{font-size:.84rem;color:var(--body-text-color-subdued);margin:4px 0!important}
.cited .why{margin-top:8px}.claim{margin:0 0 8px}.claim p{display:inline}
.mark{display:inline-block;margin-right:8px;padding:0 9px;border-radius:999px;font-size:.78rem;
line-height:1.6;background:#e3f4e8;color:#14592c}
[data-verdict=contradicted]>.mark{background:#fdf0ef;color:#7c1d14}
[data-verdict="not found"]>.mark{background:#fff7e8;color:#6a4300}
.dark .mark{background:#12351f;color:#a9e3bc}
.dark [data-verdict=contradicted]>.mark{background:#371a18;color:#ffc9c3}
.dark [data-verdict="not found"]>.mark{background:#33270f;color:#ffdfa6}
.cite{border:0;padding:0 6px;margin-left:3px;border-radius:7px;font-size:.78rem;line-height:1.6;
vertical-align:super;cursor:pointer;color:var(--primary-700);font-weight:600;
background:color-mix(in srgb,var(--primary-500) 16%,transparent)}
.dark .cite{color:var(--primary-300)}
.cite:hover,.cite:focus-visible{outline:2px solid var(--primary-400)}
ol.evidence{list-style:none!important;margin:12px 0 0!important;padding:0!important;display:grid;
gap:10px}
.evidence>li{display:flex;gap:12px;align-items:flex-start;margin:0!important;padding-top:10px;
border-top:1px solid var(--border-color-primary)}
.evidence .number{flex:none;min-width:1.4em;text-align:right;font-weight:600;font-size:.85rem}
.evidence .shown{width:120px;flex:none;border-radius:10px;overflow:hidden}
.evidence .shown img{aspect-ratio:auto;max-height:150px;object-fit:contain}
.evidence .told{padding:0;min-width:0;flex:1;align-items:flex-start}
.evidence .name{max-width:100%}
.evidence blockquote{margin:0!important;border:0!important;padding:0!important;font-size:.88rem;
font-style:normal;line-height:1.55;overflow-wrap:anywhere;color:var(--body-text-color-subdued)}
.turn mark,.excerpt mark{background:#ffe9a8;color:#3b2a00;border-radius:3px;padding:0 1px}
.excerpt[hidden]{display:none!important}
.look .excerpt{position:absolute;inset:0;overflow:auto;padding:clamp(14px,3vw,34px) 60px;
background:var(--block-background-fill);color:var(--body-text-color);line-height:1.65;
white-space:pre-wrap;overflow-wrap:anywhere}
.look .excerpt:has(table){white-space:normal;overflow-wrap:normal}
.cells{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;margin:0 auto}
.cells caption{font-weight:600;padding-bottom:8px;text-align:left}
.cells :is(td,th){border:1px solid var(--border-color-primary)!important;padding:4px 10px!important;
white-space:nowrap;text-align:left}
.cells th{color:var(--body-text-color-subdued);font-weight:500;
background:var(--background-fill-secondary)}
.cells .hit{background:#ffe9a8;color:#3b2a00;font-weight:600;outline:2px solid #e16e00;
outline-offset:-2px}
dialog.look{border:0;border-radius:18px;padding:0;width:min(1400px,96vw);max-width:96vw;
height:94vh;height:94dvh;max-height:none;margin:auto;overflow:hidden;background:var(--block-background-fill);
color:var(--body-text-color);box-shadow:0 20px 70px rgba(0,0,0,.45)}
dialog.look::backdrop{background:rgba(12,14,20,.78)}
dialog.look[open]{display:flex;flex-direction:column}
.look .stage{position:relative;background:#0c0e14;flex:1 1 0;min-height:0;overflow:hidden}
.shown{position:relative}
span.at{position:absolute;right:8px;bottom:8px;padding:3px 8px;border-radius:8px;line-height:1.4;
background:rgba(12,14,20,.72);color:#fff;font-size:.8rem;font-variant-numeric:tabular-nums}
.look [hidden]{display:none!important}
.look .stage :is(img,video){position:absolute;inset:0;width:100%;height:100%;
margin:auto!important;object-fit:contain}
.look .close{width:36px;height:36px;padding:0;flex:none;font-size:1rem;line-height:1}
.look .about{flex:none;max-height:38%;overflow-y:auto}
.look .turn{position:absolute;top:0;bottom:0;width:56px;border:0;background:transparent;
color:#fff;font-size:2.4rem;line-height:1;cursor:pointer;text-shadow:0 0 3px #000,0 0 14px #000}
.look .turn:hover,.look .turn:focus-visible{background:rgba(255,255,255,.12);outline:0}
.look .before{left:0}.look .after{right:0}
.look header{display:flex;align-items:center;gap:8px 12px;padding:12px 18px 4px}
.look header strong{min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.look header small{color:var(--body-text-color-subdued);white-space:nowrap;margin-right:auto}
.look a.do{text-decoration:none;white-space:nowrap}
.look dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 16px;margin:0;
padding:4px 18px 16px;font-size:.88rem}
.look dt{color:var(--body-text-color-subdued)}.look dd{margin:0;overflow-wrap:anywhere}
.dropping:after{content:"";position:fixed;inset:10px;border:3px dashed var(--primary-500);
border-radius:18px;pointer-events:none;z-index:50}
@media (max-width:640px){
#head{gap:8px;flex-wrap:nowrap}#collection{flex:1 1 60px!important;min-width:60px!important}
#language label{padding:5px 10px}.brand b{font-size:1.25rem}.brand span{display:none}
#ask{flex-wrap:wrap;padding:6px 8px 8px 14px}#ask .form,#words{flex:1 1 100%!important}
:is(#question-row,#inquiry-row){flex-wrap:wrap;padding:6px 8px 8px 14px}
:is(#question-row,#inquiry-row) .form,#question,#inquiry{flex:1 1 100%!important;order:-1}
#talk-pictures{margin-right:auto;max-width:60%}:is(#ask-now,#inquire){min-width:96px!important}
#picture{margin-right:auto}#go{min-width:96px!important}
#more .row{flex-wrap:wrap}#more .form{flex-direction:column}
#more .row>.form,#more .row>#where{flex:1 1 100%!important}
#since,#until{flex:1 1 40%!important;min-width:0!important}
ul.cards{grid-template-columns:repeat(2,minmax(0,1fr));gap:10px}
ul.cards.small{grid-template-columns:repeat(3,minmax(0,1fr))}
dialog.look{width:100vw;max-width:100vw;height:100vh;height:100dvh;border-radius:0}
.look dl{gap:3px 12px}
.told{padding:8px 9px 10px}.like .shown{width:84px}
}
"""
