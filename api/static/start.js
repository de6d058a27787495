// Shows the document beside this page. A file of its own: the page's policy allows no script in it.
SwaggerUIBundle({
  // Not relative: the page's own address may hold a password, with which nothing can be fetched.
  url: new URL("openapi.json", location.origin + location.pathname).href,
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis],
});
