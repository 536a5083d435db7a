/// What sorts and filters the page's tables. Without it everything is there, in the pipeline's
/// order.
enum ReportScript {
    /// SHA-256 of `text`, in base64: the page allows no other script. A browser says which it
    /// should be where it is not this one.
    static let digest: HTML = "F6RqdTj4fjkTik+CFjt4+J6mGgg1pr5DaT+v8EzyiUs="

    static let text: HTML = """
        'use strict';(()=>{const tools=document.querySelector('.tools');if(!tools)return;tools.hidden=false;
        const groups=[...document.querySelectorAll('.group')],find=tools.querySelector('input'),order=tools.querySelector('select'),said=tools.querySelector('output');
        const rows=groups.flatMap(group=>[...group.querySelectorAll('tbody tr')].map((row,place)=>({group,row,place,text:row.textContent.toLowerCase()})));
        const wasOpen=groups.map(group=>group.open);let filtered=false;
        const units={B:1,KiB:2**10,MiB:2**20,GiB:2**30,TiB:2**40,PiB:2**50,EiB:2**60,s:1,min:60,h:3600,d:86400};
        const value=text=>[...text.matchAll(/([\\d.]+) (\\w+)/g)].reduce((sum,[,number,unit])=>sum+number*(units[unit]??0),0);
        find.addEventListener('input',()=>{const words=find.value.toLowerCase().split(/\\s+/).filter(Boolean);let shown=0;
        if(!filtered)groups.forEach((group,i)=>wasOpen[i]=group.open);filtered=words.length!==0;
        for(const entry of rows){const fits=words.every(word=>entry.text.includes(word));entry.row.hidden=!fits;if(fits)shown++}
        groups.forEach((group,i)=>{const has=!!group.querySelector('tbody tr:not([hidden])');group.hidden=!has;group.open=filtered?has:wasOpen[i]});
        said.textContent=filtered?`${shown} of ${rows.length} shown`:''});
        order.addEventListener('change',()=>{const column=order.value,compare=column===''?(a,b)=>a.place-b.place:column==='0'
        ?(a,b)=>a.text.localeCompare(b.text,'en',{numeric:true}):(a,b)=>b.value-a.value||a.place-b.place;
        for(const entry of rows)entry.value=value(entry.row.children[column||0].textContent);
        for(const group of groups){const body=group.querySelector('tbody');if(body)body.append(...rows.filter(entry=>entry.group===group).sort(compare).map(entry=>entry.row))}})})()
        """
}
