// Starts Swagger. A file, because the Content-Security-Policy allows no inline script.
SwaggerUIBundle({
  // Beside this page, behind any path prefix. Without the page's user and password: fetch() rejects addresses with them.
  url: new URL("openapi.json", location.origin + location.pathname).href,
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis],
});
