// Answer queries as the search of a built site does, by its own worker: node search.mjs SITE < QUERIES
//
// Reads a JSON list of queries, writes for each the locations of the pages, best first.
import {existsSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import vm from 'node:vm';

const SETUP = 0, QUERY = 2, RESULT = 3;

const site = process.argv[2];
const workers = join(site, 'assets/javascripts/workers');
const script = readdirSync(workers).find(name => /^search\..*\.js$/.test(name));
const indexes = ['search/search_index.json', 'search.json'].map(name => join(site, name));
const index = JSON.parse(readFileSync(indexes.find(existsSync), 'utf8'));

let receive, answer;
const scope = {
  console, URL, Intl, setTimeout, clearTimeout,
  addEventListener: (_, listener) => { receive = listener; },
  postMessage: message => answer(message),
};
scope.self = scope;
vm.runInNewContext(readFileSync(join(workers, script), 'utf8'), scope);

const send = message => new Promise(resolve => {
  answer = resolve;
  (receive ?? scope.onmessage)({data: message});
});

// mkdocs-material groups sections by page; Zensical refers to sections by number.
const locations = items => items.flat().map(item => item.location ?? index.items[item.id].location);

await send({type: SETUP, data: {...index, options: {}}});
const answers = [];
for (const query of JSON.parse(readFileSync(0, 'utf8'))) {
  const {type, data} = await send({type: QUERY, data: 'docs' in index ? query : {input: query}});
  if (type !== RESULT) throw new Error(`the worker answered with message ${type}`);
  answers.push([...new Set(locations(data.items).map(location => location.split('#')[0]))]);
}
console.log(JSON.stringify(answers));
